"""The text below a diagram: what has no curve there, and what the curves carry."""


def note_below(display, content, threshold):
    """What has no curve as text, empty if every edge has one.

    Parameters
    ----------
    display : KANDisplay
    content : DiagramContent
    threshold : float

    Returns
    -------
    str
    """
    shown, edges, known = content.shown, display.edges, set(content.shown)
    present = [e for e in edges if e not in known and not e.removed]
    n_lines = sum(content.lines.values())
    left_out = [
        f"{count} {why}"
        for count, why in (
            (len(edges) - len(shown) - len(present), "removed"),
            (len(present) - n_lines, f"of importance below {threshold:g}"),
            (display.n_unused, f"pruned input{'s' * (display.n_unused > 1)}"),
        )
        if count
    ]
    parts = []
    if display.member is not None:
        number, n_members = display.member
        parts.append(f"Member {number} alone, of 0 to {n_members - 1}.")
    if n_lines:
        plain = f"Thin lines: {n_lines} of {len(edges)} edges"
        parts.append(plain + (", dashed if several." if content.others else "."))
        parts += _shares(display, shown)
    elif left_out:
        used, inputs = (
            len({edge.source for edge in some if edge.source[0] == 0})
            for some in (shown, edges)
        )
        parts.append(
            f"{len(shown)} of {len(edges)} edges, from {used} of "
            f"{inputs + display.n_unused} inputs."
        )
    if left_out:
        parts.append(f"Left out: {', '.join(left_out)}.")
    return " ".join(parts)


def _shares(display, shown):
    """What the shown edges into the outputs carry, as a list of no or one text."""
    if display.carried is None:
        return []
    last = max(edge.target[0] for edge in display.edges)
    ends = [e for e in display.edges if e.target[0] == last and not e.removed]
    ends.sort(key=lambda edge: -edge.importance)
    known = set(shown)
    n_first = next((n for n, e in enumerate(ends) if e not in known), len(ends))
    if n_first in (0, len(ends)):
        return []
    first = ends[n_first - 1]
    share = display.carried[first.source, first.target]
    n_outputs = len({edge.target for edge in ends})
    into = f"into the output{'s' * (n_outputs > 1)}"
    which = f"{n_first} most important edges {into} carry"
    if n_first == 1:
        which = f"most important edge {into} carries"
    percent = f"{min(share, 0.99):.0%}" if share > 0 else "none"
    return [f"The {which} {percent} of the variance."]
