"""Why a transform cannot be had. Names as upstream."""


class TransformException(Exception):
    """Any reason."""


class LookupException(TransformException):
    """A frame has never been heard of."""


class ConnectivityException(TransformException):
    """The frames hang on different trees."""


class ExtrapolationException(TransformException):
    """The frames were connected, but not at the time asked for."""


class InvalidArgumentException(TransformException):
    """A frame name or a transform makes no sense."""


class TimeoutException(TransformException):
    """The wait was over first."""
