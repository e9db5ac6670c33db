"""Rows and columns before any network sees them.

Holds checks of columns and weights, categories, scaling, merged rows, the dataset in
scaled units, the same for dask chunks, and what a stream remembers. Does not hold grids
or bases. `Dataset` and `DaskDataset` share one interface; a new home of rows implements
it.
"""
