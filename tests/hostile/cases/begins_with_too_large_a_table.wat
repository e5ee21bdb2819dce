;; Wants a table of a million entries before it runs.
(table 1000000 funcref)
