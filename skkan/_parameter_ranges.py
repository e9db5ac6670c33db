"""Range checks for the frozen dataclasses that users make: solvers and penalties."""


def check_fields(settings, **intervals):
    """Raise a ValueError for the first field outside of its range.

    An interval is scikit-learn's `Interval`, the message that of its estimators.
    """
    for name, interval in intervals.items():
        value = getattr(settings, name)
        if not interval.is_satisfied_by(value):
            raise ValueError(
                f"The {name!r} parameter of {type(settings).__name__} must be "
                f"{interval}. Got {value!r} instead."
            )
