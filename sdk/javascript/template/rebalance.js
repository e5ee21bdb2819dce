// Says which apps had better be elsewhere: here, one of the node that has the most, where it has the fewest neighbours.

import { policy } from "flocker-sdk";

export default policy({
  plan(cluster, movable, maxMoves) {
    const usable = cluster.nodes.filter((node) => node.isAlive && !node.isDraining);
    const [fewest, ...others] = usable.sort((a, b) => a.apps - b.apps);
    const most = others.at(-1);
    // A difference of one would only change sides.
    if (maxMoves === 0 || fewest === undefined || most === undefined || most.apps < fewest.apps + 2) return [];
    const app = movable.find((app) => app.node?.is(most));
    if (app === undefined) return [];
    return [{ app, target: fewest, gain: 1, reason: `${most.apps} apps there, ${fewest.apps} here` }];
  },
});
