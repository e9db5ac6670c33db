"""Which effects a display shows, their names, and what it leaves out."""

from skkan.drawing._labels import SMALLEST_PERCENT, percent, shortened

TIMES = " \N{MULTIPLICATION SIGN} "
EFFECT_NAME_LETTERS = 60
NEGATIVE_SHARE = "negative where an effect opposes correlated ones"
# Features that a note names, and letters of a name; more of them are counted.
MAX_NAMED_FEATURES, NAMED_FEATURE_LETTERS = 8, 20


def largest_effects(effects, max_effects, min_share):
    """The effects with the largest shares, whatever their sign, list of Effect.

    The share of a feature that works against those with which it is correlated is
    negative.
    """
    ranked = sorted(
        [*effects.mains, *effects.pairs], key=lambda effect: -abs(effect.share)
    )
    above = [effect for effect in ranked if abs(effect.share) >= min_share]
    return (above or ranked)[:max_effects]


def effect_name(effect):
    """Names of the features of an effect, str."""
    n_letters = EFFECT_NAME_LETTERS // len(effect.features) - len(TIMES)
    return TIMES.join(shortened(name, n_letters) for name in effect.feature_names)


def note_on_rest(effects, shown):
    """A sentence on the share of the variance that some effects do not show."""
    everything = [*effects.mains, *effects.pairs]
    if not any(effect.share for effect in everything) and effects.rest_share == 0:
        return "The output is constant over these rows."
    rest = effects.rest_share
    hidden = [effect for effect in everything if effect not in shown]
    further = sum(effect.share for effect in hidden)
    singles = [effect for effect in hidden if len(effect.features) == 1]
    n_pairs, parts = len(hidden) - len(singles), []
    if len(singles) > MAX_NAMED_FEATURES:
        parts.append(f"{len(singles)} features")
    elif singles:
        names = (effect.feature_names[0] for effect in singles)
        parts.append(
            ", ".join(shortened(name, NAMED_FEATURE_LETTERS) for name in names)
        )
    if n_pairs:
        parts.append(f"{n_pairs} pair{'s' * (n_pairs > 1)}")
    text = f"Not shown: {percent(further + rest)} of the variance of the model's output"
    if parts:
        text += (
            f": {percent(further)} of {' and '.join(parts)}, {percent(rest)} of "
            "everything else"
        )
    drawn = [effect.share for effect in shown]
    if min(further + rest, further, rest, *drawn) <= -SMALLEST_PERCENT:
        text += f". A share is {NEGATIVE_SHARE}"
    return f"{text}."
