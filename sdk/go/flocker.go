// Package flocker is what policies for flocker-runtime are written with in Go. README.md beside it is the way in.
//
// A policy registers itself once, and exports its hooks, each by a package of its own: placement, rebalance, failover,
// backups. Its answers must follow from the question alone, so that a decision can be replayed: not from what an earlier
// question left behind, not from the order of a map, not from math/rand's own generator.
package flocker

import "time"

// Info is what a policy says about itself.
type Info struct {
	Name, Version string
	// Schema is a JSON schema of the settings. The host checks settings against it before it hands them over, and shows it
	// to operators. Empty where there is none.
	Schema string
	// Configure takes the operator's settings, a JSON document; Decode reads them. Called once, before the first question.
	// What it returns is what is wrong with them; the plugin is then not loaded. Without it, a policy has no settings, and
	// refuses any.
	Configure func(settings []byte) error
}

var info Info

// Register says who the policy is. Called once, from an init function.
func Register(of Info) { info = of }

// Placement says where an app should be.
type Placement interface {
	// Score is how good a node would be.
	Score(node Node, request *Request) Score
}

// PlacementOfAll is for policies that compare nodes: if a Placement has it too, it is asked instead.
type PlacementOfAll interface {
	// ScoreAll gives as many scores as there are nodes, in their order.
	ScoreAll(nodes []Node, request *Request) []Score
}

// Rebalance says which apps had better be elsewhere, for the cluster's sake rather than their own.
type Rebalance interface {
	// Plan gives the moves that it would make, at most `most` of them. Only apps in `movable` may be moved, each once; a
	// target has to satisfy the hard rules and every placement policy as well.
	Plan(cluster *Cluster, movable []App, most int) []Move
}

// Failover says what becomes of the volumes of a node that stays silent.
type Failover interface {
	// Decide says what to do with one of its volumes. Nothing is promoted before the node is fenced and enough others agree
	// that it is silent, whatever the answer.
	Decide(cluster *Cluster, incident *Incident, volume Volume) Verdict
}

// Backups says what is to be snapshotted or backed up when.
type Backups interface {
	// Due is what is due for a volume until `now + horizon`; what is due later is left for the next time.
	Due(cluster *Cluster, volume Volume, now time.Time, horizon time.Duration) []Due
}

// Pruner is for Backups that also say which copies may go. Without it all are kept: a copy goes only if every policy says so.
type Pruner interface {
	// Prune says which of a volume's copies in a lane may go, oldest first in `copies`.
	Prune(volume Volume, lane string, copies []Copy, now time.Time) []Droppable
}

// Patient is for Backups that want to be asked again at another time than after the horizon.
type Patient interface {
	AskAgain(horizon time.Duration) time.Duration
}
