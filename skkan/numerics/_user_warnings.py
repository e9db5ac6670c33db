"""Warnings that point at the user's line, whatever stands between it and the cause."""

import sys
import warnings

# Packages whose frames are not the user's; searches go through joblib, and contextlib
# makes decorators of contexts.
OWN = ("skkan", "sklearn", "joblib", "contextlib")


def warn_user(message, category):
    """Warn at the innermost frame outside of this package and scikit-learn.

    Decorators and mixins of scikit-learn stand between `fit` and the user; their number
    differs between its versions.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_own(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_own(frame):
    return frame.f_globals.get("__name__", "").partition(".")[0] in OWN
