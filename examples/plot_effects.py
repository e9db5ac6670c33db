"""
What makes a car thirsty, and how sure can we be?
=================================================

A real table has numbers, categories and empty cells, and nobody knows which of them act
together. What does a default fit learn of the cars of one year: what does each feature
do, which act together, why does one car get its prediction, and how far off is that?
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.model_selection import train_test_split

from skkan import KANRegressor
from skkan.inspection import EffectDisplay, WaterfallDisplay

# %%
# The table: cars of the model year 2021 in the fuel economy guide of the Environmental
# Protection Agency of the United States (fueleconomy.gov, in the public domain). The
# cell of the charger is empty where an engine has none.

cars = pd.read_csv(Path(__file__).parent / "tables" / "cars.csv")
texts = cars.select_dtypes(exclude="number").columns
cars[texts] = cars[texts].astype("category")
X, y = cars.drop(columns="mpg"), cars["mpg"]
print(X.head().to_string())
print(f"{len(X)} cars, {X['charger'].isna().sum()} of them without a charger")

# %%
# A default fit takes the table as it is, and chooses its structure by rows held out.

X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = KANRegressor(random_state=0).fit(X_train, y_train)
search = model.search_results_
for structure, n_networks, weight in zip(
    search["param_hidden_layer_sizes"],
    search["n_networks"],
    search["weight"],
    strict=True,
):
    if weight > 0:
        print(f"{weight:.0%} of the prediction: {n_networks} x {structure}")
print(f"R2 on {len(X_test)} other cars: {model.score(X_test, y_test):.2f}")

# %%
# What features do, and which act together: the largest effects on miles per gallon, by
# their shares of the variance of the model's output.

names = {"target_names": ["miles per gallon"]}
display = EffectDisplay.from_estimator(model, X_train, **names)
print("Pairs that act together:")
for pair in display.effects.pairs[:3]:
    print(f"    {' and '.join(pair.feature_names)}: {pair.share:.1%}")

# %%
# Why one car gets its prediction, and how far off predictions are: the deviations that
# the model states, against the cars that it has not seen.

prediction, deviation = model.predict(X_test, return_std=True)
half_width = 1.645 * deviation  # a normal distribution has 90% within
inside = abs(y_test - prediction) < half_width
print(f"90% intervals hold {inside.mean():.0%} of the cars not seen.")
worst = int(abs(y_test - prediction).to_numpy().argmax())

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
WaterfallDisplay.from_estimator(model, X_test, X_train, row=worst, ax=left, **names)
left.set_title("the car that is predicted worst")
for is_inside, color in ((True, "C0"), (False, "C1")):
    rows = (inside == is_inside).to_numpy()
    right.errorbar(
        y_test[rows],
        prediction[rows],
        half_width[rows],
        fmt="o",
        markersize=3,
        alpha=0.6,
        color=color,
        label="holds the car" if is_inside else "does not",
    )
right.axline((20, 20), slope=1, color="grey", linewidth=0.8)
right.legend(title="90% interval")
right.set(xlabel="miles per gallon", ylabel="predicted miles per gallon")
right.set_title(f"{len(X_test)} cars that the model has not seen")
plt.show()

# %%
# Small engines of few cylinders and without a charger go farthest on a gallon.
# Continuous and automated manual transmissions help, and so does front-wheel drive;
# pick-ups and vans need most. Pairs add little: large cars with six gears or fewer go
# farther than class and gears say alone. Less than a fifth of the variance is not
# drawn: smaller effects, and more than two features that act together.
#
# The car that is predicted worst has nearly all that makes a car thrifty, and goes
# farther still. The table does not say which cars are hybrids, and no curve makes up
# for that.
