"""Showing that views are the ones the teacher saw."""

from ..cache import Cache
from ..errors import demand
from .datasets import DataSet
from .recipe import Recipe
from .render import Renderer


def matching_renderer(cache: Cache, data_set: DataSet) -> Renderer:
    """The renderer of a cache's views; raises LogitCacheError when it belongs to other data."""
    manifest = cache.manifest
    fingerprint = data_set.fingerprint
    demand(
        manifest.recipe is not None,
        f"{cache.path} was imported without its data set: nobody knows which views its records "
        "belong to; import the rows again with --data",
    )
    demand(
        fingerprint == manifest.data_set_fingerprint,
        f"{cache.path} belongs to data set '{manifest.data_set_name}' (fingerprint "
        f"{manifest.data_set_fingerprint[:12]}), not to '{data_set.name}' (fingerprint "
        f"{fingerprint[:12]})",
    )
    demand(
        len(manifest.class_names) == len(data_set.class_names),
        f"{cache.path} was derived for {len(manifest.class_names)} of the "
        f"{len(data_set.class_names)} classes of '{data_set.name}': its class numbers are its own; "
        "use a cache with all classes",
    )
    recipe = Recipe(manifest.recipe, f"{cache.path}, recipe")
    demand(
        recipe.digest == manifest.recipe_digest,
        f"{cache.path} is damaged: its recipe does not have the digest that its manifest names",
    )
    return Renderer(data_set, recipe, manifest.seed)


def check_views(cache: Cache, renderer: Renderer, blocks: int | None = 4) -> None:
    """Renders views again and compares their digests with the cache's.

    `blocks` of them, spread evenly over views and samples; None for all. Raises LogitCacheError
    naming the first that differs.
    """
    manifest = cache.manifest
    total = manifest.blocks_per_view * manifest.views
    count = total if blocks is None else min(blocks, total)
    for index in range(count):
        view, block = divmod(index * total // count, manifest.blocks_per_view)
        samples = manifest.block_samples(block)
        info = cache.info(view, block)
        place = f"{cache.path}: block {block} of view {view}"
        demand(info is not None, f"{place} is not stored: run precompute again to finish the cache")
        demand(
            renderer.digest(samples, view) == info.view_digest,
            f"{place} (samples {samples.start}..<{samples.stop}) was made from other pixels than "
            "are rendered here: the data or the view code has changed; precompute the cache again",
        )
