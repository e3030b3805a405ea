"""What kafka-python's fixtures ask of `test.service`: a broker that somebody else started. None is started here."""


class ExternalService:
    def __init__(self, host, port):
        print(f"the broker at {host}:{port}")

    def open(self):
        pass

    def close(self):
        pass

    def dump_logs(self):
        pass

    def wait_for(self, pattern, timeout):
        pass


class SpawnedService:
    def __init__(self, arguments, environment):
        raise RuntimeError(f"this test starts a broker of its own: {arguments}")
