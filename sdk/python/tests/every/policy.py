"""One component with every hook: the policies that `flocker plugin new python` begins with, joined. `cargo xtask sdks` puts
them beside this file."""

from backups import MyBackupsPolicy
from failover import MyFailoverPolicy
from placement import MyPlacementPolicy
from rebalance import MyRebalancePolicy


class Every(MyPlacementPolicy, MyRebalancePolicy, MyFailoverPolicy, MyBackupsPolicy):
    pass
