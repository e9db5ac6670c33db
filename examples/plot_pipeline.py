"""
Do gaps and categories have to be filled and encoded before a fit?
==================================================================

Real tables mix numbers, categories and empty cells. A Kolmogorov-Arnold network can
learn a value for each category and one for "missing", or stand at the end of a pipeline
that fills gaps and makes 0/1 columns. Which of the two predicts better, and what can be
read off the fit?
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skkan import KANRegressor
from skkan.inspection import EffectDisplay

# %%
# The table: 1,000 births in the United States in 2014, drawn at random from the records
# of the National Center for Health Statistics (in the public domain). The weight of the
# child, in pounds, is to be told from the weeks of the pregnancy, the pounds that the
# mother gained, her visits to a doctor, the ages of both parents and five categories.

births = pd.read_csv(Path(__file__).parent / "tables" / "births.csv")
births = births.rename(
    columns={
        "gained": "pounds gained",
        "mage": "age of the mother",
        "fage": "age of the father",
        "habit": "smoking",
        "whitemom": "mother",
    }
)
X, y = births.drop(columns="weight"), births["weight"]
categories = list(X.select_dtypes(exclude="number").columns)
X[categories] = X[categories].astype("category")
print("Empty cells:")
print(X.isna().sum().loc[lambda count: count > 0].to_string())

# %%
# The models: the table as it is, and what people write for networks without a notion of
# gaps. Both networks are default fits.


def encoded(model):
    """A pipeline that fills gaps, encodes categories and scales numbers."""
    numbers = [name for name in X if name not in categories]
    one_hot = OneHotEncoder(drop="if_binary", sparse_output=False)
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot), categories),
    )
    return make_pipeline(columns, model)


model = KANRegressor(random_state=0)
models = {
    "KANRegressor, table as it is": model,
    "KANRegressor, filled and encoded": encoded(model),
    "HistGradientBoosting, as it is": HistGradientBoostingRegressor(random_state=0),
    "RidgeCV, filled and encoded": encoded(RidgeCV()),
}
folds = KFold(3, shuffle=True, random_state=0)
print(f"R2 of {folds.n_splits} folds, their deviation, and that from the first model:")
first = None
for name, candidate in models.items():
    scores = cross_val_score(candidate, X, y, cv=folds)
    first = scores if first is None else first
    gain = scores - first
    print(f"    {name:<33} {scores.mean():.3f} +- {scores.std():.3f}", end="")
    print(f"   {gain.mean():+.3f} +- {gain.std():.3f}")

# %%
# What the fit of the table as it is has learnt. Diamonds are the effects of an empty
# cell. Every panel has a scale of its own, as the weeks matter much more than the rest.

model.fit(X, y)
EffectDisplay.from_estimator(
    model, X, max_effects=6, shared_scale=False, target_names=["weight [pounds]"]
)
plt.show()

# %%
# The two networks predict alike here, so that nothing is lost by leaving away the lines
# that fill and encode. Both are ahead of the boosted trees, for which 1,000 noisy rows
# are few. Weight grows with the weeks up to the 40th. Mothers who gain more have
# heavier children, and those who smoke lighter ones. The diamonds stand near 0: that a
# cell is empty tells little, which no filled table could have shown. In
# `plot_effects.py` it tells much.
