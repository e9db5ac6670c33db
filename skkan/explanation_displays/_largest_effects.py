"""Which effects a display shows, their names, and what it leaves out."""

from skkan.drawing._labels import SMALLEST_PERCENT, percent, shortened

TIMES = " \N{MULTIPLICATION SIGN} "
EFFECT_NAME_LETTERS = 60


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
    parts = []
    for n_features, word in ((1, "feature"), (2, "pair")):
        count = sum(len(effect.features) == n_features for effect in hidden)
        if count:
            parts.append(f"{count} {word}{'s' * (count > 1)}")
    text = f"Not shown: {percent(further + rest)} of the variance of the model's output"
    if parts:
        text += f" ({' and '.join(parts)} {percent(further)}, others {percent(rest)})"
    drawn = [effect.share for effect in shown]
    if min(further + rest, further, rest, *drawn) <= -SMALLEST_PERCENT:
        text += "; a negative share works against the others"
    return f"{text}."
