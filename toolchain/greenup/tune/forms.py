"""Forms of trained weights: other graphs and several kinds of int8, of the original and of each finalist.

    graphs ─ screen ─ fastest float of each ─ static and dynamic int8 ─ screen ─ judge ─ ladder · training ─ judge

What is cheap comes first and prunes what costs more. Graphs that are far behind on the original are not tried on
students. A ladder is climbed only where plain int8 is slower or loses too much, training with the rounding only
where plain int8 is faster and loses too much. A form that is slower than the float it was made of goes no further.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from greenup.onnx_facts import matmul_shapes
from greenup.pipeline import Made
from greenup.quantize import candidates as quantizable
from greenup.result import Judgement
from greenup.stages import MODEL
from greenup.tune.candidates import LOSES, MEASURED, Candidate, Kind
from greenup.tune.form_stages import LADDER, FormStages
from greenup.tune.judge import of_form
from greenup.tune.screen import Screened
from greenup_runtime.bundle import BASELINE

Look = Callable[[dict[str, Made]], dict[str, Screened]]
# Screened times differ by this much without meaning anything.
CLEARLY = 1.03
# A graph that is behind the original's best by more than this is not tried on smaller models.
_HOPELESS = 1.2
# The batch alone (`fixed`), fusions that find nothing, a shortcut left out: never the fastest, and why is known.
_NEVER = ("fixed", "transformers", "lean-all")
# ONNX Runtime's own operators: its quantizer does not see the ranges of what comes after them.
_NOT_QUANTIZED = ("lean-fused", "lean-packed")
_UNABLE = "rejected: the device cannot run it"
_LATE = "not tried: the minutes were over"


@dataclass
class Parent:
    """Trained weights of which forms are made: their file as usual, their loss, and what they take on the device.

    `latency_s` is of the fastest float file, `behind` the usual one's time over it. `graph` is the one that int8
    forms are made of, None for the usual one, and `source` its file; `graphs` are the times of all other graphs.
    """

    name: str
    made: Made
    judgement: Judgement | None
    latency_s: float = float("inf")
    behind: float = 1.0
    graph: str | None = None
    source: Path = field(init=False)
    graphs: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.source = self.made.onnx

    def int8_name(self, kind: Kind) -> str:
        """Name of an int8 form; the original's static one is called as a recipe calls it."""
        parts = [self.name, self.graph, None if kind == "int8" else kind, "int8"]
        name = "-".join(part for part in parts if part)
        return "int8" if name == f"{BASELINE}-int8" else name


class Forms:
    """The part of a search that makes forms; `time_left` says whether training may still begin."""

    def __init__(self, stages: FormStages, look: Look, drop_points: float, time_left: Callable[[], bool]) -> None:
        self.stages, self.look, self.drop, self.time_left = stages, look, drop_points, time_left

    def of(self, parents: Sequence[Parent]) -> list[Candidate]:
        """Every form that was thought of; those with `made` and the outcome MEASURED are to be packed.

        The first parent is the original.
        """
        rows = self._graphs(parents[:1], None)
        near = [
            name for name, latency_s in parents[0].graphs.items() if latency_s <= _HOPELESS * parents[0].latency_s
        ]
        rows += self._graphs(parents[1:], near)
        plain, others = self._plain_int8(parents)
        late: list[Candidate] = []
        for parent in parents:
            static = plain[parent.name]
            late += [self._ladder(parent, static), self._rounded(parent, static)]
        self._screened(late, parents)
        for row in late:
            _is_slow(row, next(parent for parent in parents if parent.name == row.parent))
        return [*rows, *plain.values(), *others, *late]

    def _graphs(self, parents: Sequence[Parent], among: list[str] | None) -> list[Candidate]:
        """Other graphs of each parent; the fastest one takes the place of the parent's float file."""
        rows, first = [], self.stages.first_form()
        for parent in parents:
            for form in self.stages.forms(parent.made.weights):
                if form in (*_NEVER, first) or not (among is None or form in among):
                    continue
                row = Candidate(f"{parent.name}-{form}", "graph", parent=parent.name, judgement=parent.judgement)
                if self.time_left():
                    made = self.stages.graph_onnx(parent.made.weights, form, row.name)
                    row.made = replace(parent.made, onnx=made)
                else:
                    row.outcome = _LATE
                rows.append(row)
        self._screened(rows, parents)
        for parent in parents:
            if own := [row for row in rows if row.parent == parent.name and row.screened]:
                self._fastest(parent, own)
        return rows

    def _fastest(self, parent: Parent, rows: list[Candidate]) -> None:
        parent.graphs = {row.name.removeprefix(f"{parent.name}-"): row.latency_s for row in rows}
        usual_s = parent.latency_s
        best = min(rows, key=lambda row: row.latency_s)
        for row in rows:
            if row.latency_s * CLEARLY >= usual_s:
                row.outcome = "rejected: not faster than the usual graph"
            else:
                row.outcome = MEASURED if row is best else f"rejected: {best.name} is faster"
        parent.latency_s = min([usual_s, *parent.graphs.values()])
        parent.behind = usual_s / parent.latency_s
        fit = [row for row in rows if not row.name.endswith(_NOT_QUANTIZED) and row.latency_s * CLEARLY < usual_s]
        if fit and (made := min(fit, key=lambda row: row.latency_s).made):
            parent.source = made.onnx
            parent.graph = min(fit, key=lambda row: row.latency_s).name.removeprefix(f"{parent.name}-")

    def _plain_int8(self, parents: Sequence[Parent]) -> tuple[dict[str, Candidate], list[Candidate]]:
        """Static int8 of each parent by its name, and dynamic int8 of all; screened, judged, some rejected."""
        static, dynamic = {}, []
        for parent in parents:
            row = Candidate(parent.int8_name("int8"), "int8", parent=parent.name)
            row.made = replace(parent.made, onnx=self.stages.int8_onnx(parent.source, row.name))
            static[parent.name] = row
            row = Candidate(parent.int8_name("dynamic"), "dynamic", parent=parent.name)
            row.made = replace(parent.made, onnx=self.stages.dynamic_onnx(parent.source, row.name))
            dynamic.append(row)
        self._screened([*static.values(), *dynamic], parents)
        for parent in parents:
            own = [static[parent.name], *(row for row in dynamic if row.parent == parent.name)]
            for row in own:
                self._decide(row, parent, own[:1] if row.kind == "dynamic" else [])
        return static, dynamic

    def _decide(self, row: Candidate, parent: Parent, rivals: Iterable[Candidate]) -> None:
        """Reject a screened form that is slower than its parent or a rival; else judge what it loses."""
        if row.screened is None or row.made is None:
            return
        if _is_slow(row, parent):
            return
        for rival in rivals:
            if rival.outcome == MEASURED and row.latency_s >= rival.latency_s:
                row.outcome = f"rejected: slower than {rival.name}"
                return
        row.judgement = of_form(self.stages, parent.made, row.made.onnx, parent.judgement)
        row.outcome = MEASURED if row.holds(self.drop) else LOSES

    def _ladder(self, parent: Parent, static: Candidate) -> Candidate:
        """int8 where a node is faster in it and bears it; only where plain int8 is slower or loses too much."""
        row = Candidate(parent.int8_name("ladder"), "ladder", parent=parent.name)
        if static.outcome in (MEASURED, _UNABLE):
            row.outcome = (
                f"not needed: {static.name} is faster and holds" if static.outcome == MEASURED else _UNABLE
            )
            return row
        nodes, slow = self._faster_nodes(parent)
        if not nodes:
            row.outcome = "rejected: no node is faster in int8"
            return row
        left = self.drop - (parent.judgement.drop_points if parent.judgement else 0.0)
        folder = self.stages.ladder_onnx(parent.source, nodes, max(0.0, left), row.name)
        said = json.loads((folder / LADDER).read_text())
        if not said["int8"]:
            row.outcome = "rejected: no node can be in int8 within the budget"
            return row
        row.made = replace(parent.made, onnx=folder)
        row.judgement = of_form(self.stages, parent.made, folder, parent.judgement)
        row.outcome = MEASURED if row.holds(self.drop) else LOSES
        count = len(said["int8"]) + len(said["left_float"]) + len(slow)
        row.remark = f"{len(said['int8'])} of {count} nodes in int8"
        for kept, why in ((slow, "slower"), (said["left_float"], "too much lost")):
            row.remark += f", {len(kept)} float: {why}" if kept else ""
        return row

    def _faster_nodes(self, parent: Parent) -> tuple[list[str], list[str]]:
        """Nodes that are faster in int8 on the device, and those that are not.

        Nodes of one shape take one time, so a probe per shape is measured: its nodes in int8, all others float.
        """
        source = parent.source
        groups: dict[tuple[int, ...], list[str]] = {}
        shapes = matmul_shapes(source / MODEL)
        for node in quantizable(source / MODEL):
            groups.setdefault(shapes[node], []).append(node)
        if not self.time_left():
            return [node for nodes in groups.values() for node in nodes], []
        probes = {f"{parent.name}-probe{index}-int8": nodes for index, nodes in enumerate(groups.values())}
        made = {
            name: replace(parent.made, onnx=self.stages.some_int8(source, nodes, name))
            for name, nodes in probes.items()
        }
        whole = f"{parent.name}-float"
        found = self.look({whole: replace(parent.made, onnx=source), **made})
        limit_s = found[whole].latency_s
        faster = [name for name in probes if name in found and found[name].latency_s < limit_s]
        return (
            [node for name in faster for node in probes[name]],
            [node for name in probes if name not in faster for node in probes[name]],
        )

    def _rounded(self, parent: Parent, static: Candidate) -> Candidate:
        """Training with the rounding in place; only where plain int8 is faster and loses too much."""
        row = Candidate(parent.int8_name("qat"), "qat", parent=parent.name, screened=static.screened)
        if static.outcome != LOSES:
            reason = "holds the budget" if static.outcome == MEASURED else "is not faster"
            row.outcome = f"not needed: {static.name} {reason}"
        elif not self.time_left():
            row.outcome = _LATE
        else:
            folder = self.stages.rounded_onnx(parent.made.weights, parent.graph, row.name)
            row.made = Made(folder, folder)
            row.judgement = of_form(self.stages, parent.made, folder, parent.judgement)
            row.outcome = MEASURED if row.holds(self.drop) else LOSES
        return row

    def _screened(self, rows: Sequence[Candidate], parents: Sequence[Parent]) -> None:
        """Measure rows that can be, and their parents beside them, in one go."""
        open_ones = [row for row in rows if row.made is not None]
        if not open_ones:
            return
        floats = {parent.name: parent.made for parent in parents if parent.name != BASELINE}
        found = self.look({**floats, **{row.name: row.made for row in open_ones if row.made}})
        for parent in parents:
            if parent.name in found:
                parent.latency_s = found[parent.name].latency_s / parent.behind
        for row in open_ones:
            row.screened = found.get(row.name)
            if row.screened is None:
                row.outcome = _UNABLE


def _is_slow(row: Candidate, parent: Parent) -> bool:
    """Whether a form is slower than its parent's fastest float file when screened; it is rejected then."""
    if row.made is None or row.screened is None or row.latency_s < CLEARLY * parent.latency_s:
        return False
    row.outcome = f"rejected: slower than its float form ({parent.latency_s / row.latency_s:.2f} times as fast)"
    return True
