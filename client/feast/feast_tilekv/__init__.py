"""TileKV as an online store of Feast. In ``feature_store.yaml``::

    online_store:
      type: feast_tilekv.TileKVOnlineStore
      address: 127.0.0.1:8453
"""

from ._store import TileKVOnlineStore, TileKVOnlineStoreConfig, write_events

__all__ = ["TileKVOnlineStore", "TileKVOnlineStoreConfig", "write_events"]
