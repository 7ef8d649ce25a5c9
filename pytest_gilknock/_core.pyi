"""The C core. Times are seconds unless a name says otherwise."""

from typing import Final, Literal, TypedDict, final

Method = Literal["exact", "sampled", "disabled"]

# (native thread id, name or None, held, wait, acquisitions, contended, max_wait)
RawThread = tuple[int, str | None, float, float, int, int, float]
# (file, line, function, native thread id, thread name or None, waited, knocks)
RawBlame = tuple[str, int, str, int, str | None, float, int]
# (count, p50, p90, p99, max)
RawLatency = tuple[int, float, float, float, float]

class RawReading(TypedDict):
    method: Method
    reason: str | None  # why not exact; None when exact
    gil_enabled: bool
    switch_interval: float
    wall: float
    held: float | None  # this and the next three: None unless exact
    wait: float | None
    acquisitions: int | None
    contended: int | None
    max_wait: float | None  # None when nothing could have seen a wait
    knocks: int
    knocks_waited: int
    knock_latency: RawLatency | None  # None without a knock
    wait_latency: RawLatency | None  # None without a contended acquisition
    threads: list[RawThread]  # empty unless exact
    blame: list[RawBlame]
    run_delay: float | None  # runnable but not running, summed over threads; None where unknown

@final
class Window:
    """One interval of measuring. Opened once, closed once; may nest, and overlap in many threads."""

    def __init__(
        self,
        *,
        method: Literal["auto", "exact", "sampled"] = "auto",
        threads: bool = True,
    ) -> None: ...
    def begin(self) -> None: ...
    def end(self) -> RawReading: ...
    def peek(self) -> RawReading: ...

@final
class Knocker:
    """A knocking thread with the duty cycle of gilknocker: sample for a while, then sleep."""

    def __init__(self, polling_us: int, sampling_us: int, sleeping_us: int) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def reset(self) -> None: ...
    def times(self) -> tuple[float, float]: ...
    @property
    def is_running(self) -> bool: ...

def status() -> tuple[Method, str | None]: ...
def set_knock_interval(seconds: float) -> None: ...
def cost() -> tuple[float, float]: ...

CLOCK: Final[str]
