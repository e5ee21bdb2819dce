// Package table holds the cluster's tables, row by row. A column is fetched when it is first asked for, once per decision,
// and others never: that is what keeps a question about thousands of rows cheap.
package table

import "math"

// Source is where columns come from: the host, or made-up ones. A column that does not exist is nil.
type Source interface {
	Rows(table string) uint32
	Numbers(table, column string) []uint64
	Texts(table, column string) []*string
}

type key struct{ table, column string }

// Tables are all tables, as far as they were asked for.
type Tables struct {
	source    Source
	numbers   map[key][]uint64
	texts     map[key][]*string
	referring map[key]map[uint32][]uint32
}

// Of makes tables of a source.
func Of(source Source) *Tables {
	return &Tables{source, map[key][]uint64{}, map[key][]*string{}, map[key]map[uint32][]uint32{}}
}

// Row is a row of a table.
type Row struct {
	tables *Tables
	table  string
	number uint32
}

// Row gives a row by its number.
func (t *Tables) Row(table string, number uint32) Row { return Row{t, table, number} }

// Rows gives every row, in alphabetical order of the names.
func (t *Tables) Rows(table string) []Row {
	rows := make([]Row, t.source.Rows(table))
	for number := range rows {
		rows[number] = t.Row(table, uint32(number))
	}
	return rows
}

// Place is its number: rows of one table are the same when they have the same.
func (r Row) Place() uint32 { return r.number }

// Number is a cell of a number column, and whether there is one.
func (r Row) Number(column string) (uint64, bool) {
	at := key{r.table, column}
	cells, known := r.tables.numbers[at]
	if !known {
		cells = r.tables.source.Numbers(r.table, column)
		r.tables.numbers[at] = cells
	}
	if int(r.number) >= len(cells) || cells[r.number] == math.MaxUint64 {
		return 0, false
	}
	return cells[r.number], true
}

// Text is a cell of a text column, and whether there is one.
func (r Row) Text(column string) (string, bool) {
	at := key{r.table, column}
	cells, known := r.tables.texts[at]
	if !known {
		cells = r.tables.source.Texts(r.table, column)
		r.tables.texts[at] = cells
	}
	if int(r.number) >= len(cells) || cells[r.number] == nil {
		return "", false
	}
	return *cells[r.number], true
}

// Reference is the row that a column refers to, and whether there is one.
func (r Row) Reference(column, table string) (Row, bool) {
	number, ok := r.Number(column)
	if !ok || number >= math.MaxUint32 {
		return Row{}, false
	}
	return r.tables.Row(table, uint32(number)), true
}

// Referring are the rows of a table whose column refers to this one. Found once, as it is asked for row by row.
func (r Row) Referring(table, column string) []Row {
	at := key{table, column}
	found, known := r.tables.referring[at]
	if !known {
		found = map[uint32][]uint32{}
		for _, row := range r.tables.Rows(table) {
			if to, ok := row.Number(column); ok && to < math.MaxUint32 {
				found[uint32(to)] = append(found[uint32(to)], row.number)
			}
		}
		r.tables.referring[at] = found
	}
	rows := make([]Row, 0, len(found[r.number]))
	for _, number := range found[r.number] {
		rows = append(rows, r.tables.Row(table, number))
	}
	return rows
}
