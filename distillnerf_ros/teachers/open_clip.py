"""OpenCLIP models: the text tower the node asks, and the dense image features it was taught with.

Which model is one string, ``clip``:

* ``"world_clip"``: the small model shipped with this package, trained on procedural streets.
* ``"NAME:TAG"``: a model of open_clip with pretrained weights from its hub, for example
  ``"ViT-B-16:laion2b_s34b_b88k"``.
* ``"NAME:/path/to/file.safetensors"``: the same architecture with weights from a local file, which
  do not say how they were trained: those of OpenAI, MetaCLIP and DFN want ``NAME-quickgelu``,
  those of other colour statistics than CLIP's ``local-dir:``.
* ``"hf-hub:ORG/REPO"`` and ``"local-dir:/path"``: as in open_clip.

open_clip, timm and torchvision take seconds to import, so they are imported when a model is made.
"""

import json
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from distillnerf_ros.errors import CheckpointError, QueryError
from distillnerf_ros.teachers.patches import whole_patches
from distillnerf_ros.teachers.pca import WEIGHTS_FOLDER
from distillnerf_ros.teachers.torchvision_shim import ensure_torchvision

EMBEDDED_CLIP = "world_clip"
"""Name of the shipped model: its config and weights carry this stem."""


def import_open_clip() -> Any:
    """The open_clip module, with the shipped model's config registered.

    Raises:
        CheckpointError: open_clip or something it needs is not installed.
    """
    ensure_torchvision()
    try:
        import open_clip
    except ImportError as error:
        raise CheckpointError(
            f"open_clip cannot be imported ({error}); install it with: "
            "pip install 'distillnerf_ros[clip]'"
        ) from error
    if EMBEDDED_CLIP not in open_clip.list_models():
        open_clip.add_model_config(WEIGHTS_FOLDER / f"{EMBEDDED_CLIP}.json")
    return open_clip


def embedded_config() -> dict[str, Any]:
    """open_clip model config of the shipped CLIP."""
    return json.loads((WEIGHTS_FOLDER / f"{EMBEDDED_CLIP}.json").read_text())


def load_clip(clip: str = EMBEDDED_CLIP, *, pretrained: bool = True) -> tuple[Any, Any]:
    """Make an OpenCLIP model, in evaluation mode on the CPU, and its tokenizer.

    Args:
        clip: which model and weights, see the module's text.
        pretrained: False leaves the weights random (to train them).

    Raises:
        CheckpointError: the model is unknown, or its weights cannot be had.
    """
    open_clip = import_open_clip()
    name, source = _parse(clip)
    known = open_clip.get_pretrained_cfg(name.replace("/", "-"), source or "")
    try:
        model = open_clip.create_model(
            name,
            pretrained=source if pretrained else None,
            require_pretrained=pretrained,
            load_weights=pretrained,
            # open_clip itself only warns where a tag was trained with another activation.
            force_quick_gelu=known.get("quick_gelu", False),
        )
        tokenizer = open_clip.get_tokenizer(name)
    except ImportError as error:
        raise CheckpointError(
            f"OpenCLIP model {clip!r} needs {error.name!r}, which is not installed; expected a "
            "model that reads with CLIP's own word pieces, such as ViT-B-16, or install it with: "
            f"pip install {error.name}"
        ) from error
    except Exception as error:  # the hub, files and configs each raise their own kinds
        raise CheckpointError(
            f"OpenCLIP model {clip!r} cannot be made ({error}). Expected one of: "
            f"'{EMBEDDED_CLIP}' (shipped); 'NAME:TAG' with a model and tag of open_clip, fetched "
            f"from its hub{_hub_page(known)}, which needs a network; "
            "'NAME:/path/to/file.safetensors' with weights copied onto this machine "
            "('NAME-quickgelu:/path/...' for those of OpenAI, MetaCLIP and DFN); "
            "'local-dir:/path' with open_clip_config.json and weights"
        ) from error
    return model.eval(), tokenizer


def _hub_page(known: dict[str, Any]) -> str:
    """Where the hub keeps the weights of a tag, for messages."""
    page = known.get("hf_hub") or known.get("url")
    return f" ({page.rstrip('/')})" if page else ""


def _parse(clip: str) -> tuple[str, str | None]:
    if clip == EMBEDDED_CLIP:
        return clip, str(WEIGHTS_FOLDER / f"{EMBEDDED_CLIP}.safetensors")
    if clip.startswith(("hf-hub:", "local-dir:")):
        return clip, None
    name, colon, source = clip.partition(":")
    if not (name and colon and source):
        raise CheckpointError(
            f"OpenCLIP model {clip!r} names no weights; expected '{EMBEDDED_CLIP}', 'NAME:TAG', "
            "'NAME:/path/to/file.safetensors', 'hf-hub:ORG/REPO' or 'local-dir:/path'"
        )
    return name, source


KEPT_PROMPTS = 4096
"""Prompts whose vectors are kept, 2 KB each: a node may be asked for months."""


class TextTower:
    """Turns prompts into unit vectors of the CLIP space; answers are kept.

    Attributes:
        width: E, the length of a vector.
    """

    def __init__(self, clip: str = EMBEDDED_CLIP) -> None:
        """Load the text half of a model on the CPU (see ``load_clip`` for errors)."""
        self._model, self._tokenizer = load_clip(clip)
        self._model.visual = None  # the image half is not needed to read
        self._known: dict[str, Tensor] = {}
        self.width = self(["object"]).shape[1]

    @classmethod
    def embedded(cls) -> "TextTower":
        """The text tower of the shipped CLIP."""
        return cls(EMBEDDED_CLIP)

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Float[Tensor, "Q E"]:
        """Unit vectors of the prompts.

        Raises:
            QueryError: no prompt, an empty one, or one that is longer than the model reads.
        """
        cleaned = [prompt.strip() for prompt in prompts]
        if not cleaned or not all(cleaned):
            raise QueryError(
                f"got the prompts {list(prompts)!r}; expected at least one, none of them empty"
            )
        if len(self._known) > KEPT_PROMPTS:
            self._known.clear()
        new = [p for p in dict.fromkeys(cleaned) if p not in self._known]
        if new:
            vectors = self._model.encode_text(self._pieces(new), normalize=True)
            self._known.update(zip(new, vectors, strict=True))
        return torch.stack([self._known[p] for p in cleaned])

    def _pieces(self, texts: Sequence[str]) -> Int[Tensor, "T P"]:
        """Word pieces of texts, of which none is cut: its end may be what was asked."""
        pieces = self._tokenizer(texts)
        room = pieces.shape[1]
        # A text that fits is followed by padding in more room, and otherwise the same.
        cut = (self._tokenizer(texts, context_length=room + 1)[:, :room] != pieces).any(dim=1)
        if cut.any():
            raise QueryError(
                f"{texts[int(cut.int().argmax())]!r} is cut: the model reads {room - 2} word "
                "pieces, about one per word, and a wording such as 'there is ... in the scene' "
                "takes 5 of them; ask in fewer words"
            )
        return pieces


class DenseClip(nn.Module):
    """One CLIP feature per patch of an image instead of one per image.

    A model that pools by averaging its tokens (such as the shipped one) keeps every token: the
    mean of the features before normalisation is the model's own image embedding. In a model that
    pools by a class token, patches are not aligned with text; there the last block's attention is
    replaced by its value projection, so that each patch attends to itself alone (MaskCLIP, Zhou
    et al., ECCV 2022, section 3.2). Position embeddings are interpolated to the image's size.

    Attributes:
        patch: rows and columns of pixels per feature.
        width: E, the length of a feature.
        native: rows and columns of patches that the model was made for.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(self, clip: str = EMBEDDED_CLIP) -> None:
        """Load the image half of a model on the CPU.

        Raises:
            CheckpointError: see ``load_clip``; or the model's image half is not an open_clip ViT.
        """
        super().__init__()
        model, _ = load_clip(clip)
        self._adopt(model.visual, clip)

    @classmethod
    def embedded(cls) -> "DenseClip":
        """The image tower of the shipped CLIP."""
        return cls(EMBEDDED_CLIP)

    @classmethod
    def of(cls, visual: Any) -> "DenseClip":
        """Wrap an image tower that is already there (it is shared, not copied)."""
        dense = cls.__new__(cls)
        nn.Module.__init__(dense)
        dense._adopt(visual, type(visual).__name__)
        return dense

    def _adopt(self, visual: Any, clip: str) -> None:
        if not hasattr(visual, "transformer") or getattr(visual, "attn_pool", None) is not None:
            raise CheckpointError(
                f"the image half of {clip!r} is a {type(visual).__name__}; dense features need an "
                "open_clip ViT with a class token or average pooling, such as ViT-B-16"
            )
        self.visual: Any = visual
        self.patch: tuple[int, int] = tuple(visual.patch_size)
        self.width: int = visual.output_dim
        self.native: tuple[int, int] = tuple(visual.grid_size)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(visual, f"image_{name}")).reshape(3, 1, 1)
            self.register_buffer(f"_{name}", values, persistent=False)

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N E h w"]:
        """Unit-length features, one per patch; h = round(H / patch), w = round(W / patch).

        Args:
            images: (N, 3, H, W) RGB in 0..1, resampled where H or W is no multiple of the patch.

        Raises:
            ImageError: an image is smaller than a patch.
        """
        return F.normalize(self.unnormalised(images), dim=1)

    def unnormalised(
        self,
        images: Float[Tensor, "N 3 H W"],
        positions: Float[Tensor, "*windows P D"] | None = None,
    ) -> Float[Tensor, "N E h w"]:
        """Features before they are made unit length.

        Args:
            images: (N, 3, H, W) RGB in 0..1.
            positions: (1 + h * w, D) position embeddings to use, or (N, 1 + h * w, D) for each
                image its own; None interpolates the model's own over the image.
        """
        images, rows, cols = whole_patches(images, self.patch)
        patches = self.visual.conv1((images - self._mean) / self._std)
        tokens = patches.flatten(2).transpose(1, 2)  # (N, h*w, D)
        first = self.visual.class_embedding.expand(len(tokens), 1, -1)
        if positions is None:
            positions = self.positions(rows, cols)
        tokens = self.visual.ln_pre(torch.cat([first, tokens], dim=1) + positions)
        tokens = self._blocks(tokens)[:, 1:]
        features = self.visual.ln_post(tokens) @ self.visual.proj
        return features.transpose(1, 2).unflatten(2, (rows, cols))

    def positions(self, rows: int, cols: int) -> Float[Tensor, "P D"]:
        """Position embeddings of the class token and of a grid of any size."""
        table = self.visual.positional_embedding
        if (rows, cols) == self.native:
            return table
        grid = table[1:].T.unflatten(1, self.native)[None]
        grid = F.interpolate(grid, (rows, cols), mode="bilinear", antialias=True)
        return torch.cat([table[:1], grid[0].flatten(1).T])

    def _blocks(self, tokens: Tensor) -> Tensor:
        blocks = self.visual.transformer.resblocks
        if self.visual.pool_type == "avg":
            return self.visual.transformer(tokens)
        for block in blocks[:-1]:
            tokens = block(tokens)
        return _attend_to_self(blocks[-1], tokens)


def _attend_to_self(block: Any, tokens: Tensor) -> Tensor:
    """A transformer block whose attention matrix is the identity: only the values remain."""
    attention = block.attn
    width = tokens.shape[-1]
    values = F.linear(
        block.ln_1(tokens),
        attention.in_proj_weight[2 * width :],
        attention.in_proj_bias[2 * width :],
    )
    tokens = tokens + block.ls_1(attention.out_proj(values))
    return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
