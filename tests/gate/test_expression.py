"""The gate's grammar and its arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gate_samples import FUZZ

from pytest_gilknock.gate.expression import Gate, parse_gate, parse_gates
from pytest_gilknock.model.metrics import METRICS


@pytest.mark.parametrize(
    ("written", "gate"),
    [
        ("contention:0.05", Gate("contention", 0.05, None)),
        ("contention:5%", Gate("contention", None, 0.05)),
        ("contention:0.05&10%", Gate("contention", 0.05, 0.1)),
        ("contention:10% & .05", Gate("contention", 0.05, 0.1)),
        ("wait:20ms", Gate("wait", 0.02, None)),
        ("wait:25%", Gate("wait", None, 0.25)),
        ("wait:20ms&25%", Gate("wait", 0.02, 0.25)),
        ("max_wait:300us&12.5%", Gate("max_wait", 300e-6, 0.125)),
        ("max_wait:2s", Gate("max_wait", 2.0, None)),
        ("contended:100&50%", Gate("contended", 100, 0.5)),
        ("contended:0", Gate("contended", 0, None)),
        ("wait:300%", Gate("wait", None, 3.0)),
    ],
)
def test_what_a_gate_may_look_like(written: str, gate: Gate) -> None:
    parsed = parse_gate(written)
    assert (parsed.metric, parsed.absolute, parsed.relative) == (
        gate.metric,
        None if gate.absolute is None else pytest.approx(gate.absolute),
        None if gate.relative is None else pytest.approx(gate.relative),
    )


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "no METRIC this gate knows"),
        ("wait", "'wait' has no PART; write METRIC:PART"),
        ("20ms", "no METRIC this gate knows"),
        (":20ms", "no METRIC this gate knows"),
        ("latency:20ms", "no METRIC this gate knows"),
        ("WAIT:20ms", "no METRIC this gate knows"),
        ("held:20ms", "no METRIC this gate knows"),
        ("wait:", "'' is neither a time with its unit"),
        ("wait:20ms&", "'' is neither"),
        ("wait:&25%", "'' is neither"),
        ("wait:20", "'20' is neither a time with its unit such as 20ms nor a percentage"),
        ("wait:0.05", "'0.05' is neither a time"),
        ("wait:-20ms", "'-20ms' is neither"),
        ("wait:-25%", "'-25%' is neither"),
        ("wait:nan", "'nan' is neither"),
        ("wait:nan%", "'nan%' is neither"),
        ("wait:inf%", "'inf%' is neither"),
        ("wait:infs", "'infs' is neither"),
        ("wait:1e400s", "'1e400s' is neither"),
        ("wait:20parsecs", "'20parsecs' is neither"),
        ("wait:" + "9" * 400 + "%", "9%' is neither"),
        ("wait:" + "9" * 400 + "s", "9s' is neither"),
        ("wait:%", "'%' is neither"),
        ("wait:20ms&30ms", "two absolute parts"),
        ("wait:20%&30%", "two relative parts"),
        ("wait:20ms&20%&1s", "two absolute parts"),
        ("wait:20ms|25%", "'20ms|25%' is neither"),
        ("contention:20ms", "'20ms' is neither a share from 0 to 1 such as 0.05"),
        ("contention:1.5", "'1.5' is neither a share"),
        ("contention:true", "'true' is neither"),
        ("contention:\uff11%", "is neither"),  # a digit, but not an ASCII one
        ("contended:0.5", "'0.5' is neither a count such as 100"),
        ("contended:20ms", "'20ms' is neither a count"),
        ("contended:" + "9" * 5000, "is neither a count"),
    ],
)
def test_what_it_may_not_look_like_is_told_with_value_reason_and_form(
    written: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=r"gate|neither|PART") as error:
        parse_gate(written)
    assert repr(written) in str(error.value)
    assert reason in str(error.value)


@FUZZ
@given(st.text())
def test_any_text_is_a_gate_or_a_value_error(written: str) -> None:
    try:
        gate = parse_gate(written)
    except ValueError:
        return
    assert parse_gate(str(gate)).metric == gate.metric


@FUZZ
@given(st.sampled_from(sorted(METRICS)), st.text("0123456789.%&smunaief-+ ", max_size=12))
def test_near_misses_are_a_gate_with_a_finite_allowance_or_a_value_error(
    metric: str, expression: str
) -> None:
    try:
        gate = parse_gate(f"{metric}:{expression}")
    except ValueError:
        return
    assert 0.0 <= gate.allowance(1.0) < float("inf")


@pytest.mark.parametrize(
    "written", ["wait:20ms&25%", "contention:0.05", "contended:100", "wait:5%"]
)
def test_a_gate_is_shown_as_it_is_written(written: str) -> None:
    assert str(parse_gate(written)) == written


def test_one_gate_for_each_metric() -> None:
    assert [gate.metric for gate in parse_gates(["wait:1s", "contention:0.1"])] == [
        "wait",
        "contention",
    ]
    with pytest.raises(ValueError, match="'wait:5%' is a second gate for wait"):
        parse_gates(["wait:1s", "wait:5%"])


@pytest.mark.parametrize(
    ("written", "before", "allowed"),
    [
        ("wait:20ms", 1.0, 0.02),
        ("wait:20ms&25%", 1.0, 0.25),
        ("wait:20ms&25%", 0.01, 0.02),
        ("wait:20ms&25%", 0.0, 0.02),
        ("wait:25%", 1.0, 0.25),
        ("wait:25%", 0.0, METRICS["wait"].floor),
        ("wait:0ms", 1.0, 0.0),
        ("contention:10%", 0.5, 0.05),
        ("contention:10%", 0.0, METRICS["contention"].floor),
        ("contended:50%", 0, METRICS["contended"].floor),
    ],
)
def test_growth_is_allowed_up_to_the_larger_part_so_that_zero_is_no_trap(
    written: str, before: float, allowed: float
) -> None:
    assert parse_gate(written).allowance(before) == pytest.approx(allowed)
