"""What displays draw with: axes for panels, labels, bars of categories, scales of axes.

Knows matplotlib, and neither estimators nor what is drawn. Has no abstract class.
"""
