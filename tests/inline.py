"""A pool of processes without processes, for tests of what is made of its results."""

from concurrent.futures import Future


class Inline:
    """Runs what is submitted at once, in this process."""

    def __init__(self, *_, **__):
        pass

    def submit(self, function, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as problem:
            future.set_exception(problem)
        return future

    def shutdown(self, **_):
        pass
