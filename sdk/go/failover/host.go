//go:build wasip1

package failover

import (
	"unsafe"

	"flocker"
	"flocker/internal/abi"
	"flocker/internal/table"
)

func export() {}

//go:wasmexport flocker:plugin/failover@0.1.0#decide
func decide(arguments unsafe.Pointer) unsafe.Pointer {
	asked := (*abi.Decide)(arguments)
	return abi.Answer(asked.View, func() abi.List[abi.Decision] {
		cluster := flocker.ClusterOf(table.Of(asked.View))
		incident := &flocker.Incident{
			Node:   cluster.NodeAt(asked.Incident.Node),
			Now:    abi.Moment(asked.Context.NowMs),
			Silent: abi.Span(asked.Incident.SilentMs),
			Fenced: asked.Incident.Fenced != 0,
			Votes:  asked.Incident.Votes,
			Quorum: asked.Incident.Quorum,
		}
		var decisions []abi.Decision
		for _, row := range asked.Volumes.Get() {
			verdict := policy.Decide(cluster, incident, cluster.VolumeAt(row))
			decision := abi.Decision{
				Code:   verdict.Code(),
				WaitMs: verdict.WaitMs(),
				Reason: abi.Text(verdict.Reason),
			}
			if replica, ok := verdict.Replica(); ok {
				decision.Replica = abi.Some(replica)
			}
			decisions = append(decisions, decision)
		}
		return abi.ListOf(decisions)
	})
}

//go:wasmexport cabi_post_flocker:plugin/failover@0.1.0#decide
func done(unsafe.Pointer) { abi.Done() }
