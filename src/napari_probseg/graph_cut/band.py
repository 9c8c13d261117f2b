"""The graph that is kept: nodes for the voxels near the boundary only, and more where the cut asks for them."""

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

_FREE, _CHOSEN, _BORDER = -1, -2, -3
_RADIUS = 1
_MOST_OF_THE_GRID = 0.4
_ROOM = 1.5
_CHUNK = 1 << 16


class Band:
    """A growing set of voxels with a maximum-flow graph over them.

    Voxels are flat indices into the image padded by one voxel on every side, so that a neighbour is always an index
    away; `_inside` holds the band's as them to flat indices into the image.

    Parameters
    ----------
    links : Links
        The boundary term, which fixes the capacities between voxels; they are set once.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        shape = links.values.shape[1:]
        self._padded = tuple(n + 2 for n in shape)
        node_of = np.full(self._padded, _BORDER, dtype=np.int32)
        node_of[(slice(1, -1),) * len(shape)] = _FREE
        self._node_of = node_of.ravel()
        strides = np.array([int(np.prod(self._padded[axis + 1 :])) for axis in range(len(shape))])
        self._steps = links.offsets @ strides
        self._nearness = links.nearness
        self._faces = np.concatenate([strides, -strides])
        self._shape = shape
        self._core = (slice(1, -1),) * len(shape)
        self._label = np.zeros(len(self._node_of), dtype=bool)
        self._graph: maxflow.GraphFloat | None = None
        self._n_reserved = 0
        self._keeps_trees = False
        self._voxels: Voxels = np.empty(0, dtype=np.intp)
        self._inside: Voxels = np.empty(0, dtype=np.intp)
        self._unary = np.empty(0)

    def minimum(self, preferred: Mask, unary: Unary) -> Mask:
        """Return the labels of least energy.

        Parameters
        ----------
        preferred : bool array of the image's shape
            The label of every voxel that its own term prefers.
        unary : function of (N,) flat indices into the image, returning (N,) float64
            How much voxels favour the object over the background, in units of the links.
        """
        radius = _RADIUS
        while True:
            self._set_unary(unary(self._inside))
            label = np.zeros(self._padded, dtype=bool)
            label[self._core] = preferred
            label = label.ravel()
            label[self._voxels] = self._solve()
            ends = self._open_ends(label, np.flatnonzero(label != self._label))
            if not len(ends):
                self._label = label
                return label.reshape(self._padded)[self._core].copy()
            self._grow(ends, radius=radius)
            # Every open link is in the graph now, so that these labels are as good a start as certified ones.
            self._label = label
            radius = 2 * radius + 1

    def __len__(self) -> int:
        return len(self._voxels)

    def _set_unary(self, unary: NDArray[np.float64]) -> None:
        """Set how much each voxel of the band favours the object: only what differs is told to the graph."""
        if self._graph is None:
            return
        change = unary - self._unary
        nodes = np.flatnonzero(change)
        if not len(nodes):
            return
        change = change[nodes]
        self._graph.add_grid_tedges(nodes, np.maximum(-change, 0), np.maximum(change, 0))
        self._mark(nodes)
        self._unary = unary

    def _solve(self) -> Mask:
        """Return the object within the band: (number of voxels,) bool. Ties go to the background."""
        if self._graph is None:
            return np.zeros(0, dtype=bool)
        self._graph.maxflow(reuse_trees=self._keeps_trees)
        self._keeps_trees = True
        segments: Mask = self._graph.get_grid_segments(np.arange(len(self)))
        return segments

    def _open_ends(self, label: Mask, changed: Voxels) -> Voxels:
        """Choose the voxels on links that join different labels without being in the graph.

        Parameters
        ----------
        label : flat bool array of the padded image
        changed : (N,) array
            The voxels to look at; links between others are known to be closed.

        Returns
        -------
        (M,) array
            Voxels that the band needs.
        """
        chosen = []
        here_label, here_absent = label[changed], self._node_of[changed] < 0
        for step in np.concatenate([self._steps, -self._steps]):
            there = changed + step
            there_node = self._node_of[there]
            is_open = (here_label != label[there]) & (here_absent | (there_node < 0)) & (there_node != _BORDER)
            chosen += [self._choose(changed[is_open]), self._choose(there[is_open])]
        return np.concatenate(chosen)

    def _grow(self, ends: Voxels, *, radius: int) -> None:
        """Add voxels to the graph, with all that lie within a number of steps of them."""
        rings = [ends]
        for _ in range(radius):
            rings.append(np.concatenate([self._choose(rings[-1] + step) for step in self._faces]))
        added = np.sort(np.concatenate(rings))
        self._add(added)

    def _grow_to_all(self) -> None:
        """Add every voxel that is not in the graph yet."""
        self._add(np.flatnonzero((self._node_of == _FREE) | (self._node_of == _CHOSEN)))

    def _choose(self, voxels: Voxels) -> Voxels:
        """Return those of some distinct voxels that are new, and note that they are chosen."""
        voxels = voxels[self._node_of[voxels] == _FREE]
        self._node_of[voxels] = _CHOSEN
        return voxels

    def _add(self, voxels: Voxels) -> None:
        first = len(self)
        self._reserve(len(voxels))
        assert self._graph is not None
        self._graph.add_nodes(len(voxels))
        self._node_of[voxels] = np.arange(first, first + len(voxels), dtype=np.int32)
        self._voxels = np.concatenate([self._voxels, voxels])
        coordinates = np.unravel_index(voxels, self._padded)
        inside = np.ravel_multi_index(tuple(c - 1 for c in coordinates), self._shape)
        self._inside = np.concatenate([self._inside, inside])
        self._unary = np.concatenate([self._unary, np.zeros(len(voxels))])
        for start in range(first, len(self), _CHUNK):
            self._connect(np.arange(start, min(start + _CHUNK, len(self))), first)

    def _reserve(self, n_new: int) -> None:
        n_edges = (len(self) + n_new) * len(self._steps)
        if self._graph is None:
            self._n_reserved = int(_ROOM * n_edges)
            self._graph = maxflow.GraphFloat(int(_ROOM * n_new), self._n_reserved)
        elif n_edges > self._n_reserved:
            # The library moves its edges when they outgrow their room, but not the search trees that point to them.
            self._keeps_trees = False

    def _connect(self, nodes: NDArray[np.intp], first_new: int) -> None:
        """Add the links of new nodes: to each other once, and to the old ones on both sides."""
        assert self._graph is not None
        # Node by node, so that the edges of a node lie together in memory: the flow spends its time in going there.
        others = self._node_of[self._voxels[nodes, None] + np.concatenate([self._steps, -self._steps])]
        exist = others >= 0
        exist[:, len(self._steps) :] &= others[:, len(self._steps) :] < first_new
        which, step = np.nonzero(exist)
        here, there = nodes[which], others[exist]
        cost = self._links.cost(self._inside[here], self._inside[there])
        cost *= self._nearness[step % len(self._steps)]
        self._graph.add_edges(here, there, cost, cost)
        self._mark(here)
        self._mark(there)

    def _mark(self, nodes: NDArray[np.integer]) -> None:
        """Note which nodes have changed; before the first flow the library has no list of them to add to."""
        if self._keeps_trees and self._graph is not None:
            self._graph.mark_grid_nodes(nodes)
