"""
What drives the rent of a flat, in a table with gaps and categories?
====================================================================

Real tables mix numbers, categories and missing values. Can a Kolmogorov-Arnold network
sit at the end of an ordinary scikit-learn pipeline for such a table, and do the curves
that it learns show how the data were made?
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skkan import KANRegressor

# %%
# The table is made up, so that the truth is known: the price per square metre falls
# with the size of a flat, is lowest in houses of about 1965, falls with the way to the
# centre and depends on the quarter. One value in ten of two columns is missing.

rng = np.random.default_rng(0)
n_flats = 400
flats = pd.DataFrame(
    {
        "area [m²]": rng.gamma(8, 9, n_flats).clip(18, 160).round(),
        "year built": rng.integers(1900, 2021, n_flats).astype(float),
        "way to centre [min]": rng.uniform(5, 50, n_flats).round(),
        "quarter": rng.choice(["river", "hill", "station", "mill"], n_flats),
        "lift": rng.choice(["yes", "no"], n_flats),
    }
)
surcharge = {"river": 2.5, "hill": 1.5, "station": -1.0, "mill": 0.0}
price = (
    9
    + 60 / flats["area [m²]"]
    + ((flats["year built"] - 1965) / 30) ** 2
    - 0.06 * flats["way to centre [min]"]
    + flats["quarter"].map(surcharge)
    + rng.normal(0, 0.8, n_flats)
)
rent = (price * flats["area [m²]"]).rename("rent [€ per month]")
for name in ["year built", "way to centre [min]"]:
    flats.loc[rng.random(n_flats) < 0.1, name] = np.nan
print(flats.head().to_string())

# %%
# The pipeline: gaps in numbers are filled with the median, categories become 0/1
# columns, and the network scales the rest itself.

numbers = ["area [m²]", "year built", "way to centre [min]"]
categories = ["quarter", "lift"]
model = make_pipeline(
    make_column_transformer(
        (SimpleImputer(strategy="median"), numbers),
        (OneHotEncoder(sparse_output=False, drop="if_binary"), categories),
    ),
    KANRegressor(hidden_layer_sizes=(3,), alpha=0.01, random_state=0),
)
scores = cross_val_score(model, flats, rent, cv=3)
print(f"R2 of 3 folds: {scores.mean():.3f} +- {scores.std():.3f}")

X_train, X_test, y_train, y_test = train_test_split(flats, rent, random_state=0)
model.fit(X_train, y_train)
print(f"R2 on held-out flats: {model.score(X_test, y_test):.3f}")

# %%
# Importance of the columns of the table, not of the encoded ones: by how much the R2 on
# held-out flats falls when a column is shuffled.

importance = permutation_importance(model, X_test, y_test, n_repeats=10, random_state=0)
order = np.argsort(importance.importances_mean)
print("Fall of R2 when a column is shuffled:")
for column in order[::-1]:
    mean = importance.importances_mean[column]
    print(f"    {flats.columns[column]:<20} {mean:.3f}")

# %%
# The figure: importance, and how the mean prediction moves with each column.

fig, axes = plt.subplots(2, 3, figsize=(11, 6.5), layout="constrained")
bars, *panels = axes.flat
bars.barh(
    flats.columns[order],
    importance.importances_mean[order],
    xerr=importance.importances_std[order],
)
bars.set(title="Importance", xlabel="fall of R2 on held-out flats when shuffled")
PartialDependenceDisplay.from_estimator(
    model,
    X_test.dropna(),
    flats.columns,
    categorical_features=categories,
    ax=panels,
)
for ax, name in zip(panels, flats.columns, strict=True):
    ax.set_title(f"Effect of {name.split(' [')[0]}")
    ax.set(ylim=(0, None), ylabel="mean prediction [€ per month]")
    ax.tick_params(axis="x", rotation=0)
plt.show()

# %%
# The curves show what went in: rent grows with the area, is lowest in houses of about
# 1965, falls with the way to the centre and is highest at the river; lifts, which had
# no effect, are seen to have none.
