// One component with every hook: the policies that `flocker plugin new javascript` begins with, joined. `cargo xtask sdks`
// puts them beside this file.

import { policy } from "flocker-sdk";

import backups from "./backups.js";
import failover from "./failover.js";
import placement from "./placement.js";
import rebalance from "./rebalance.js";

export default policy({
  score: (...question) => placement.score(...question),
  plan: (...question) => rebalance.plan(...question),
  decide: (...question) => failover.decide(...question),
  due: (...question) => backups.due(...question),
  prune: (...question) => backups.prune(...question),
});
