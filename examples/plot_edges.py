"""
What did a network learn about the progression of diabetes?
===========================================================

A Kolmogorov-Arnold network without hidden layers is a sum of one curve per feature, so
that all it has learnt can be seen. Which measurements of 442 patients foretell how
their diabetes progresses, are their effects straight lines, and how sure can we be?
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skkan import KANRegressor
from skkan.inspection import EdgeFunctionDisplay, KANDisplay, edge_table

# %%
# The table in the units in which it was measured, with names that can be read.

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X = X.rename(
    columns={
        "bp": "blood pressure",
        "s1": "cholesterol",
        "s2": "low-density lipoproteins",
        "s3": "high-density lipoproteins",
        "s4": "cholesterol / high-density lipoproteins",
        "s5": "log of triglycerides",
        "s6": "blood sugar",
    }
)

# %%
# The curves should earn their freedom: a linear model is the one to beat.

model = KANRegressor(hidden_layer_sizes=(), random_state=0)
linear = make_pipeline(StandardScaler(), RidgeCV())
for name, candidate in {"linear": linear, "curves": model}.items():
    scores = cross_val_score(candidate, X, y, cv=5)
    print(f"R2 of 5 folds, {name}: {scores.mean():.3f} +- {scores.std():.3f}")

# %%
# The edges as a table: which matter, and which are straight, flat or curved.

model.fit(X, y)
table = edge_table(model)
print(table[["source", "importance", "kind", "slope"]].round(2).to_string(index=False))

# %%
# The figure: the whole model at a glance, and its most important curves in the units of
# the table. The curves are drawn less their mean; the band holds 90% of the posterior,
# the grey strip is the density of the patients, and the ticks over it are the knots.

target = "progression"
figure = plt.figure(figsize=(13, 5.5), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=[1, 1.7])
KANDisplay.from_estimator(model, target_names=[target], ax=left)
EdgeFunctionDisplay.from_estimator(
    model, max_edges=6, target_names=[target], ax=right, n_cols=3
)
plt.show()

# %%
# The body mass index, the triglycerides and the blood pressure foretell most: the index
# all along its range, the triglycerides in the middle of theirs and hardly at its ends,
# where there are few patients and the band is wide.
