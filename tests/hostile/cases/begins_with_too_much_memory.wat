;; Wants 128 MiB before it runs.
(memory $memory (export "memory") 2048)
