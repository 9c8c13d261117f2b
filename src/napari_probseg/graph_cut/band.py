"""Band cut: the graph of a narrow band around the boundary, widened until it is certified."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import maxflow
import numpy as np
from numpy.typing import NDArray

from napari_probseg.graph_cut.links import Links

Voxels: TypeAlias = NDArray[np.intp]
Mask: TypeAlias = NDArray[np.bool_]
Unary: TypeAlias = Callable[[Voxels], NDArray[np.float64]]

# What `Band._node_of` holds for voxels that are not in the graph.
_FREE, _CHOSEN, _BORDER = -1, -2, -3
_RADIUS_VOXELS = 2
# Above this share of the voxels the whole grid is cheaper than more and more growing.
_MAX_BAND_SHARE = 0.4
# Neighbours with different labels, over the voxels: around more of them, as noise makes them, no band is small.
_MAX_BOUNDARY_SHARE = 0.12
# Search trees are worth keeping while fewer than this share of the band's voxels change.
_MAX_CHANGED_SHARE = 0.2
_RESERVE_FACTOR = 1.5
_CHUNK_VOXELS = 1 << 16


class Band:
    """A growing set of voxels with a maximum-flow graph over them.

    Voxels are flat indices into the image padded by one voxel on every side, so that a neighbour is always a fixed
    step away; `_inside` holds the band's as flat indices into the image.

    Parameters
    ----------
    links : Links
        The boundary term, which fixes the capacities between voxels; they are set once.
    """

    _label: Mask
    _voxels: Voxels
    _inside: Voxels
    _unary: NDArray[np.float64]
    _n_at_first: int
    _n_reserved: int
    _has_trees: bool

    def __init__(self, links: Links) -> None:
        self._links = links
        self._shape = links.values.shape[1:]
        self._padded = tuple(n + 2 for n in self._shape)
        self._core = (slice(1, -1),) * len(self._shape)
        self._strides = np.array([int(np.prod(self._padded[axis + 1 :])) for axis in range(len(self._shape))])
        half = links.offsets @ self._strides
        self._steps = np.concatenate([half, -half])
        self._nearness = np.tile(links.nearness, 2)
        self._start_anew()

    def minimum(self, preferred: Mask, unary: Unary) -> Mask:
        """Return the labels of least energy.

        Parameters
        ----------
        preferred : bool array of the image's shape
            The label of every voxel that its own term prefers.
        unary : function of (N,) flat indices into the image, returning (N,) float64
            How much voxels favour the object over the background, in units of the links.
        """
        if len(self._voxels) > 2 * self._n_at_first > 0:
            # It has followed too many probabilities to be small.
            self._start_anew()
        try:
            label = self._certified(preferred, unary)
        except BaseException:
            self._start_anew()
            raise
        self._n_at_first = self._n_at_first or len(self._voxels)
        return label.reshape(self._padded)[self._core].copy()

    def _start_anew(self) -> None:
        node_of = np.full(self._padded, _BORDER, dtype=np.int32)
        node_of[self._core] = _FREE
        self._node_of = node_of.ravel()
        self._label = np.zeros(node_of.size, dtype=bool)
        self._voxels = np.empty(0, dtype=np.intp)
        self._inside = np.empty(0, dtype=np.intp)
        self._n_at_first = 0
        self._new_graph(n_nodes=0, n_edges=0)

    def _certified(self, preferred: Mask, unary: Unary) -> Mask:
        """Solve and grow until no link outside the graph joins different labels."""
        radius = _RADIUS_VOXELS
        if not len(self._voxels) and _boundary_share(preferred) > _MAX_BOUNDARY_SHARE:
            self._take_all()
        while True:
            self._set_unary(unary(self._inside))
            grid = np.zeros(self._padded, dtype=bool)
            grid[self._core] = preferred
            label = grid.ravel()
            label[self._voxels] = self._solve()
            if self._is_whole:
                self._label = label
                return label
            ends = self._open_ends(label, np.flatnonzero(label != self._label))
            self._grow(ends, radius=radius)
            # Either certified, or with every open link in the graph now: what the next round compares with.
            self._label = label
            if not len(ends):
                return label
            radius = 2 * radius + 1

    def _set_unary(self, unary: NDArray[np.float64]) -> None:
        """Set the terms of the band's voxels: only what differs is told to the graph."""
        change = unary - self._unary
        nodes = np.flatnonzero(change)
        if not len(nodes):
            return
        change = change[nodes]
        self._graph.add_grid_tedges(nodes, np.maximum(-change, 0), np.maximum(change, 0))
        self._has_trees &= len(nodes) < _MAX_CHANGED_SHARE * len(unary)
        self._mark(nodes)
        self._unary = unary

    def _solve(self) -> Mask:
        """Return the object within the band: (number of nodes,) bool. Ties go to the background."""
        if not len(self._voxels):
            return np.zeros(0, dtype=bool)
        self._graph.maxflow(reuse_trees=self._has_trees)
        self._has_trees = True
        segments: Mask = self._graph.get_grid_segments(np.arange(len(self._voxels)))
        return segments

    def _open_ends(self, label: Mask, changed: Voxels) -> Voxels:
        """Choose the voxels on links that join different labels without being in the graph.

        Only links of the ``changed`` voxels are looked at: all others were closed before.
        """
        chosen = []
        here_label, here_absent = label[changed], self._node_of[changed] < 0
        for step in self._steps:
            there = changed + step
            node = self._node_of[there]
            is_open = (here_label != label[there]) & (here_absent | (node < 0)) & (node != _BORDER)
            chosen += [self._choose(changed[is_open]), self._choose(there[is_open])]
        return np.concatenate(chosen)

    def _choose(self, voxels: Voxels) -> Voxels:
        """Return those of some distinct voxels that are new, and note that they are chosen."""
        voxels = voxels[self._node_of[voxels] == _FREE]
        self._node_of[voxels] = _CHOSEN
        return voxels

    def _grow(self, ends: Voxels, *, radius: int) -> None:
        """Add voxels to the graph, with all that lie within a number of the finest steps of them.

        Where these would be too many, all voxels are.
        """
        n_most = _MAX_BAND_SHARE * np.prod(self._shape)
        rings = [ends]
        for n in range(1, radius + 1):
            # Along a coarse axis a ring is reached more rarely.
            reached = np.floor(n * self._links.fineness) > np.floor((n - 1) * self._links.fineness)
            steps = np.concatenate([self._strides[reached], -self._strides[reached]])
            rings.append(np.concatenate([self._choose(rings[-1] + step) for step in steps]))
        added = np.sort(np.concatenate(rings))
        if len(self._voxels) + len(added) > n_most:
            self._take_all()
        elif len(added):
            self._add(added)

    @property
    def _is_whole(self) -> bool:
        return len(self._voxels) == int(np.prod(self._shape))

    def _take_all(self) -> None:
        """Make a graph of all voxels: the library connects a grid faster than any set of them."""
        n_nodes = int(np.prod(self._shape))
        self._new_graph(n_nodes=n_nodes, n_edges=n_nodes * len(self._steps) // 2)
        grid = self._graph.add_grid_nodes(self._shape)
        self._inside = np.arange(n_nodes)
        self._unary = np.zeros(n_nodes)
        node_of = self._node_of.reshape(self._padded)
        node_of[self._core] = grid
        self._voxels = np.flatnonzero(node_of.ravel() >= 0)
        for offset, nearness in zip(self._links.offsets, self._links.nearness, strict=True):
            structure = np.zeros((3,) * len(self._shape))
            structure[tuple(offset + 1)] = 1
            cost = self._links.grid_cost(offset) * nearness
            self._graph.add_grid_edges(grid, cost, structure=structure, symmetric=True)

    def _add(self, voxels: Voxels) -> None:
        first = len(self._voxels)
        self._voxels = np.concatenate([self._voxels, voxels])
        coordinates = np.unravel_index(voxels, self._padded)
        inside = np.ravel_multi_index(tuple(c - 1 for c in coordinates), self._shape)
        self._inside = np.concatenate([self._inside, inside])
        n_nodes = len(self._voxels)
        self._node_of[voxels] = np.arange(first, n_nodes, dtype=np.int32)
        n_edges = n_nodes * len(self._steps) // 2
        if n_edges > self._n_reserved:
            # The library would move its edges to where there is room, but not the search trees that point to them.
            first = 0
            room = min(_RESERVE_FACTOR, np.prod(self._shape) / n_nodes)
            self._new_graph(n_nodes=int(room * n_nodes), n_edges=int(room * n_edges))
        self._graph.add_nodes(n_nodes - first)
        self._unary = np.concatenate([self._unary, np.zeros(n_nodes - first)])
        for start in range(first, n_nodes, _CHUNK_VOXELS):
            self._connect(np.arange(start, min(start + _CHUNK_VOXELS, n_nodes)), first_new=first)

    def _new_graph(self, *, n_nodes: int, n_edges: int) -> None:
        self._graph = maxflow.GraphFloat(n_nodes, n_edges)
        self._n_reserved = n_edges
        self._has_trees = False
        self._unary = np.zeros(0)

    def _connect(self, nodes: NDArray[np.intp], *, first_new: int) -> None:
        """Add the links of new nodes: to each other once, and to the old ones on both sides."""
        # Node by node, so that the edges of a node lie together in memory: going there is what the flow waits for.
        others = self._node_of[self._voxels[nodes, None] + self._steps]
        exist = others >= 0
        backward = slice(len(self._steps) // 2, None)
        exist[:, backward] &= others[:, backward] < first_new
        which, step = np.nonzero(exist)
        here, there = nodes[which], others[exist]
        if not len(here):
            return
        cost = self._links.cost(self._inside[here], self._inside[there]) * self._nearness[step]
        self._graph.add_edges(here, there, cost, cost)
        self._mark(here)
        self._mark(there)

    def _mark(self, nodes: NDArray[np.integer]) -> None:
        """Note which nodes have changed; before the first flow the library has no list to add them to."""
        if self._has_trees:
            self._graph.mark_grid_nodes(nodes)


def _boundary_share(label: Mask) -> float:
    """Return how many neighbours along the axes have different labels, over the number of voxels."""
    differ = (np.count_nonzero(np.diff(label, axis=axis)) for axis in range(label.ndim))
    return sum(differ) / label.size
