// Says what becomes of the volumes of a silent node: here, the newest copy is promoted after a minute.

import { policy, Verdict } from "flocker-sdk";

const PATIENCE_MS = 60_000;

export default policy({
  decide(cluster, incident, volume) {
    if (incident.silentMs < PATIENCE_MS) {
      return Verdict.wait(PATIENCE_MS - incident.silentMs, "it may come back");
    }
    const living = volume.replicas.filter((replica) => replica.node?.isAlive);
    const [newest] = living.sort((a, b) => (b.takenMs ?? 0) - (a.takenMs ?? 0));
    if (newest === undefined) return Verdict.freeze("there is no copy on a node that answers");
    return Verdict.promote(newest, "it is the newest copy");
  },
});
