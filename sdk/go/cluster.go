package flocker

import "flocker/internal/table"

// Cluster is all that is known of the cluster, frozen for one decision.
type Cluster struct{ tables *table.Tables }

// ClusterOf is for the packages of the hooks.
func ClusterOf(tables *table.Tables) *Cluster { return &Cluster{tables} }

// Nodes are all nodes, in alphabetical order, as everything below.
func (c *Cluster) Nodes() []Node { return all(c, "nodes", func(r table.Row) Node { return Node{r} }) }

// Apps are all apps.
func (c *Cluster) Apps() []App { return all(c, "apps", func(r table.Row) App { return App{r} }) }

// Volumes are all volumes.
func (c *Cluster) Volumes() []Volume {
	return all(c, "volumes", func(r table.Row) Volume { return Volume{r} })
}

// Replicas are all replicas, of all volumes.
func (c *Cluster) Replicas() []Replica {
	return all(c, "replicas", func(r table.Row) Replica { return Replica{r} })
}

func all[T any](c *Cluster, name string, of func(table.Row) T) []T {
	rows := c.tables.Rows(name)
	found := make([]T, len(rows))
	for i, row := range rows {
		found[i] = of(row)
	}
	return found
}

// NodeAt is for the packages of the hooks.
func (c *Cluster) NodeAt(row uint32) Node { return Node{c.tables.Row("nodes", row)} }

// AppAt is for the packages of the hooks.
func (c *Cluster) AppAt(row uint32) App { return App{c.tables.Row("apps", row)} }

// VolumeAt is for the packages of the hooks.
func (c *Cluster) VolumeAt(row uint32) Volume { return Volume{c.tables.Row("volumes", row)} }
