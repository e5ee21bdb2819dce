"""Says what becomes of the volumes of a silent node: here, the newest copy is promoted after a minute."""

from datetime import UTC, datetime, timedelta

from flocker_sdk import Cluster, Failover, Incident, Verdict, Volume

PATIENCE = timedelta(minutes=1)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class {{type}}(Failover):
    def decide(self, cluster: Cluster, incident: Incident, volume: Volume) -> Verdict:
        if incident.silent < PATIENCE:
            return Verdict.wait(PATIENCE - incident.silent, "it may come back")
        living = [copy for copy in volume.replicas if copy.node and copy.node.is_alive]
        if not living:
            return Verdict.freeze("there is no copy on a node that answers")
        newest = max(living, key=lambda copy: copy.taken or LONG_AGO)
        return Verdict.promote(newest, "it is the newest copy")
