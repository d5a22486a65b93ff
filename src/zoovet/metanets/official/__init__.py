"""The released ScaleGMN: its configuration blocks and checkpoints, run by our model.

What the released code computes otherwise than the mathematics (forward edge features run backwards in scale models, the
order of the last layer's edge embeddings, a constant in the norm, one number an edge) are options that only this
package sets. ``python -m zoovet.metanets.official FOLDER`` checks the agreement on a folder of case files.
"""

from __future__ import annotations

from zoovet.metanets.official.model import OfficialScaleGMN, from_official

__all__ = ["OfficialScaleGMN", "from_official"]
