// Package placement exports the hook that says where an app should be.
package placement

import "flocker"

var policy flocker.Placement

// Export lets the node ask the policy. Called once, from an init function.
func Export(of flocker.Placement) {
	policy = of
	export()
}

// scores asks the policy about all nodes.
func scores(nodes []flocker.Node, request *flocker.Request) []flocker.Score {
	if all, ok := policy.(flocker.PlacementOfAll); ok {
		return all.ScoreAll(nodes, request)
	}
	scores := make([]flocker.Score, len(nodes))
	for i, node := range nodes {
		scores[i] = policy.Score(node, request)
	}
	return scores
}
