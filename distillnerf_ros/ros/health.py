"""What went wrong and how often, per camera: counted always, logged at a bearable rate."""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

LOG_PERIOD_S = 5.0
"""The same problem of the same camera is logged at most this often."""

RATE_SAMPLES = 30


class CameraHealth:
    """Arrivals and problems of one camera. Times are wall-clock (monotonic) seconds."""

    def __init__(self, name: str, topic: str) -> None:
        self.name = name
        self.topic = topic
        self.problems: Counter[str] = Counter()
        self.last_problem = ""
        self.incompatible_qos = ""
        self.waiting_since_s = time.monotonic()
        self._arrivals_s: deque[float] = deque(maxlen=RATE_SAMPLES)

    def arrived(self) -> None:
        """Count an image; whoever sends it offers what is asked for."""
        self.incompatible_qos = ""
        self._arrivals_s.append(time.monotonic())

    @property
    def ever_arrived(self) -> bool:
        """Whether any image came."""
        return bool(self._arrivals_s)

    def silent_s(self) -> float:
        """Seconds since the last image, or since the node began to listen."""
        last_s = max([self.waiting_since_s, *self._arrivals_s])
        return time.monotonic() - last_s

    def rate_hz(self) -> float:
        """Mean rate of the last images; falls while none comes that was due."""
        arrivals_s = list(self._arrivals_s)
        intervals = len(arrivals_s) - 1
        if intervals < 1:
            return 0.0
        first_s, last_s = arrivals_s[0], arrivals_s[-1]
        overdue_s = time.monotonic() - (last_s - first_s) / intervals
        return intervals / max(max(last_s, overdue_s) - first_s, 1e-9)


class Health:
    """Problems by name, for the log and for /diagnostics."""

    def __init__(self, warn: Callable[[str], None], topics: Mapping[str, str]) -> None:
        """Watch cameras.

        Args:
            warn: takes log lines, each kind and source at most once per ``LOG_PERIOD_S``.
            topics: image topic by camera name.
        """
        self._warn = warn
        self._logged_s: dict[tuple[str, str], float] = {}
        self.cameras = {name: CameraHealth(name, topic) for name, topic in topics.items()}
        self.problems: Counter[str] = Counter()
        self.last_problem = ""

    def listen(self) -> None:
        """Silence counts from now on."""
        for camera in self.cameras.values():
            camera.waiting_since_s = time.monotonic()

    def camera_problem(self, camera: str, kind: str, message: str) -> None:
        """Count what makes one camera's image unusable, and log it."""
        self.camera_problems(kind, {camera: message})

    def camera_problems(self, kind: str, messages: Mapping[str, str]) -> None:
        """Count the same kind of problem of several cameras, and log it once."""
        for camera, message in messages.items():
            self.cameras[camera].problems[kind] += 1
            self.cameras[camera].last_problem = message
        first, *others = messages
        also = f" (likewise {', '.join(others)})" if others else ""
        self._log((",".join(messages), kind), messages[first] + also)

    def problem(self, kind: str, message: str) -> None:
        """Count what makes a whole glance or an output unusable, and log it."""
        self.problems[kind] += 1
        self.last_problem = message
        self._log(("", kind), message)

    def notice(self, source: str, message: str) -> None:
        """Log a standing condition without counting it."""
        self._log((source, "notice"), message)

    def _log(self, key: tuple[str, str], message: str) -> None:
        now_s = time.monotonic()
        if now_s - self._logged_s.get(key, -LOG_PERIOD_S) >= LOG_PERIOD_S:
            self._logged_s[key] = now_s
            self._warn(message)
