module flocker

go 1.24
