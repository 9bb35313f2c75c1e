"""Devices and processes: the mesh, collectives between hosts, joining a pod."""

from maspo_jax.distributed.hosts import (
    all_gather_hosts,
    all_gather_texts,
    assert_equal_across_hosts,
    max_over_hosts,
    raise_on_all_hosts,
)
from maspo_jax.distributed.launch import (
    initialize_distributed,
    leave,
    lost_peer,
)
from maspo_jax.distributed.mesh import (
    AXES,
    BATCH,
    REPLICATED,
    all_gather_params,
    check_divides,
    gathered_specs,
    host_slice,
    local_rows,
    make_mesh,
    make_spec,
    named_shardings,
    pcast_varying,
    psum_replicated,
    row_shards,
    shard_rows,
)

__all__ = [
    "AXES",
    "BATCH",
    "REPLICATED",
    "all_gather_hosts",
    "all_gather_params",
    "all_gather_texts",
    "assert_equal_across_hosts",
    "check_divides",
    "gathered_specs",
    "host_slice",
    "initialize_distributed",
    "leave",
    "local_rows",
    "lost_peer",
    "make_mesh",
    "make_spec",
    "max_over_hosts",
    "named_shardings",
    "pcast_varying",
    "psum_replicated",
    "raise_on_all_hosts",
    "row_shards",
    "shard_rows",
]
