"""Renders the views that a teacher saw, byte for byte (docs/VIEWS.md).

data = open_data_set("fashion-mnist/train[0:500]")
renderer = matching_renderer(cache, data)
check_views(cache, renderer)
batch = renderer.render(samples=[0, 17, 5], view=1)
"""

from .check import check_views, matching_renderer
from .datasets import DataSet, open_data_set, read_idx, read_texts
from .folders import FolderDataSet
from .recipe import Recipe
from .render import Renderer, ViewBatch

__all__ = [
    "DataSet",
    "FolderDataSet",
    "Recipe",
    "Renderer",
    "ViewBatch",
    "check_views",
    "matching_renderer",
    "open_data_set",
    "read_idx",
    "read_texts",
]
