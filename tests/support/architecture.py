"""Reads a package's imports from its syntax trees and says where they break the layers that pyproject.toml draws."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


def read_sources(folder: Path) -> dict[str, str]:
    """The source of every module of a package, by dotted name; a package's own name stands for its __init__."""
    sources = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return sources


class Architecture:
    """The modules of one package, who imports whom, and what is wrong with it.

    Imports inside functions count; those under `if TYPE_CHECKING:` do not, since they never run. `layers` are names of
    sub-packages or modules, top first: each may import from the lines below its own and from itself.
    """

    def __init__(self, sources: Mapping[str, str], layers: Sequence[Sequence[str]]) -> None:
        self._trees = {name: ast.parse(source, name) for name, source in sources.items()}
        self._parents = {name.rpartition(".")[0] for name in sources}
        self._root = min(sources, key=len)
        self._floor = {name: number for number, layer in enumerate(layers) for name in layer}
        self.imports = {name: self._imports_of(name) for name in sources}

    def wrong_way(self) -> list[str]:
        """Imports that run upward or sideways, as `module -> module`."""
        found = []
        for name, targets in self.imports.items():
            here = self._part(name)
            for target in sorted(targets):
                there = self._part(target)
                if here not in self._floor or there not in self._floor or here == there:
                    continue
                if self._floor[there] <= self._floor[here]:
                    found.append(f"{name} -> {target}")
        return found

    def homeless(self) -> list[str]:
        """Sub-packages and modules that stand in no layer."""
        parts = {self._part(name) for name in self._trees} - {"", "__main__"}
        return sorted(parts - self._floor.keys())

    def undocumented(self) -> list[str]:
        """Modules without a docstring."""
        return [name for name, tree in self._trees.items() if not ast.get_docstring(tree)]

    def importers_of(self, library: str) -> set[str]:
        """The parts of the package that import a third-party library."""
        found = set()
        for name, tree in self._trees.items():
            if any(target.split(".")[0] == library for target in self._targets(name, tree)):
                found.add(self._part(name))
        return found

    def cycles(self) -> list[list[str]]:
        """Groups of modules that import each other in a circle, however long."""
        return [sorted(group) for group in strongly_connected(self.imports) if len(group) > 1]

    def _part(self, name: str) -> str:
        """The layer's word for a module: `transport` for `amqtask.transport.url`, "" for the package itself."""
        return name[len(self._root) + 1 :].split(".")[0]

    def _imports_of(self, name: str) -> set[str]:
        return {target for target in self._targets(name, self._trees[name]) if target in self._trees} - {name}

    def _targets(self, name: str, tree: ast.Module) -> Iterator[str]:
        is_package = name in self._parents
        for node in running(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = absolute(name, node, is_package=is_package)
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    yield inner if inner in self._trees else base
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
                given = node.args[0]
                if isinstance(given, ast.Constant) and isinstance(given.value, str):
                    yield given.value


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node of a tree, save what stands under `if TYPE_CHECKING:` (its `else` runs)."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in node.orelse:
                yield other
                yield from running(other)
        else:
            yield node
            yield from running(node)


def absolute(name: str, node: ast.ImportFrom, *, is_package: bool) -> str:
    """The dotted name that a `from ... import` starts from, relative ones resolved."""
    if not node.level:
        return node.module or ""
    parts = name.split(".") if is_package else name.split(".")[:-1]
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def strongly_connected(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of a graph: two passes of a depth-first walk, without recursion."""
    order: list[str] = []
    seen: set[str] = set()
    for root in graph:
        stack = [(root, False)]
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
            elif node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack += [(other, False) for other in graph[node]]
    back: dict[str, set[str]] = {name: set() for name in graph}
    for name, targets in graph.items():
        for target in targets:
            back[target].add(name)
    groups: list[set[str]] = []
    placed: set[str] = set()
    for root in reversed(order):
        group: set[str] = set()
        walk = [root]
        while walk:
            node = walk.pop()
            if node not in placed:
                placed.add(node)
                group.add(node)
                walk += back[node]
        if group:
            groups.append(group)
    return groups
