;; Needs a directory of another name than the granted one.
(data $pool_name (i32.const 256) "root")
