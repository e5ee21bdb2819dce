package flocker

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"flocker/internal/table"
)

// Rows are made-up tables, for tests: by the table's name, each row by the names of its columns in wit/columns.md. A number
// is an int or a bool, a label's column is called `label:KEY`, and a row is referred to by its name; a replica needs none.
type Rows map[string][]map[string]any

// Sample makes up a cluster, for tests. It panics where a row refers to one that is not there.
func Sample(rows Rows) *Cluster {
	sorted := sample{}
	for name, rows := range rows {
		sorted[name] = slices.Clone(rows)
		slices.SortFunc(sorted[name], func(a, b map[string]any) int {
			return strings.Compare(nameOf(a), nameOf(b))
		})
	}
	return ClusterOf(table.Of(sorted))
}

// Node is the node of a sample that has this name; it panics when there is none.
func (c *Cluster) Node(name string) Node { return named(c.Nodes(), name) }

// App is the app of a sample that has this name; it panics when there is none.
func (c *Cluster) App(name string) App { return named(c.Apps(), name) }

// Volume is the volume of a sample that has this name; it panics when there is none.
func (c *Cluster) Volume(name string) Volume { return named(c.Volumes(), name) }

func named[T interface{ Name() string }](rows []T, name string) T {
	for _, row := range rows {
		if row.Name() == name {
			return row
		}
	}
	panic(fmt.Sprintf("no row of this sample has the name %q", name))
}

type sample map[string][]map[string]any

// references are the number columns that hold rows, and of which table.
var references = map[string]string{"node": "nodes", "app": "apps", "volume": "volumes"}

func nameOf(row map[string]any) string {
	name, _ := row["name"].(string)
	return name
}

func (s sample) Rows(table string) uint32 { return uint32(len(s[table])) }

func (s sample) Numbers(table, column string) []uint64 {
	numbers := make([]uint64, len(s[table]))
	for i, row := range s[table] {
		numbers[i] = s.number(column, row[column])
	}
	return numbers
}

func (s sample) number(column string, value any) uint64 {
	switch value := value.(type) {
	case nil:
		return math.MaxUint64
	case int:
		return uint64(value)
	case uint64:
		return value
	case bool:
		if value {
			return 1
		}
		return 0
	case string:
		named := func(row map[string]any) bool { return nameOf(row) == value }
		if at := slices.IndexFunc(s[references[column]], named); at >= 0 {
			return uint64(at)
		}
		panic(fmt.Sprintf("the column %q of a sample refers to %q, which is not in it", column, value))
	default:
		panic(fmt.Sprintf("the column %q of a sample cannot be %v", column, value))
	}
}

func (s sample) Texts(table, column string) []*string {
	texts := make([]*string, len(s[table]))
	for i, row := range s[table] {
		if text, ok := row[column].(string); ok {
			texts[i] = &text
		}
	}
	return texts
}
