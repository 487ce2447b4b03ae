"""The table of all operations that a tape may contain."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    """One row of the table: the names of what is read, what is written, and of the attributes.

    `types` are the types of the attributes: "int", "float", or "source" (X or Y).
    """

    kind: str
    reads: tuple = ()
    writes: tuple = ()
    attributes: tuple = ()
    types: tuple = ()


def _row(kind, reads="", writes="", attributes=""):
    """Return a row; an attribute is an int unless its name is followed by a type."""
    numbers = [name.partition(":") for name in attributes.split()]
    return Operation(
        kind,
        tuple(reads.split()),
        tuple(writes.split()),
        tuple(name for name, _, _ in numbers),
        tuple(type or "int" for _, _, type in numbers),
    )


_POOL = (
    "height width channels window_height window_width stride_height stride_width top left "
    "out_height out_width"
)
_CONVOLUTION = (
    "height width channels filters kernel_height kernel_width stride_height stride_width top left "
    "dilation_height dilation_width groups out_height out_width"
)
_UPSAMPLING = "height width channels factor_height factor_width"
_RESPONSE = "positions channels size alpha:float beta:float k:float"
_STEPS = "steps units reverse"
OPERATIONS = {
    "gather": _row("blocks", "", "addresses out", "columns field:source"),
    "gather_csr": _row("blocks", "", "addresses out", "columns field:source"),
    "weigh": _row("blocks", "", "out"),
    "scatter": _row("blocks", "a", "", "units"),
    "dense": _row("blocks", "x w b", "z", "inputs units positions"),
    "dense_unbiased": _row("blocks", "x w", "z", "inputs units positions"),
    "dense_input_gradient": _row("blocks", "dz w", "dx", "inputs units positions"),
    "pack_samples": _row("blocks", "dz", "packed", "positions units stride"),
    "convolution": _row("blocks", "x w b", "z", _CONVOLUTION + " first last"),
    "convolution_unbiased": _row("blocks", "x w", "z", _CONVOLUTION + " first last"),
    "convolution_input_gradient": _row("blocks", "dz w", "dx", _CONVOLUTION),
    "add_bias": _row("blocks", "x b", "y", "positions channels"),
    "max_pool": _row("blocks", "x", "y", _POOL + " first last"),
    "max_pool_gradient": _row("blocks", "x y dy", "dx", _POOL),
    "average_pool": _row("blocks", "x", "y", _POOL + " first last"),
    "average_pool_gradient": _row("blocks", "dy", "dx", _POOL),
    "upsample": _row("blocks", "x", "y", _UPSAMPLING),
    "upsample_gradient": _row("blocks", "dy", "dx", _UPSAMPLING),
    "add": _row("blocks", "a b", "y", "elements"),
    "insert_channels": _row("blocks", "x", "y", "positions channels total offset"),
    "extract_channels": _row("blocks", "x", "y", "positions channels total offset"),
    "multiply": _row("blocks", "a b", "y", "elements"),
    "member_scale": _row("blocks", "x s", "y", "units"),
    "member_add": _row("blocks", "x b", "y", "units"),
    "member_dense": _row("blocks", "x w b", "z", "inputs units"),
    "member_dense_input_gradient": _row("blocks", "dz w", "dx", "inputs units"),
    "activation": _row("blocks", "x", "y", "elements parameter:float"),
    "activation_gradient": _row("blocks", "v dy", "dx", "elements parameter:float"),
    "softmax": _row("blocks", "x", "y", "units steps"),
    "softmax_gradient": _row("blocks", "y dy", "dx", "units steps"),
    "dropout": _row("blocks", "x", "y", "units layer threshold scale:float"),
    "gaussian_noise": _row(
        "blocks", "x", "y", "units layer deviation:float least:float most:float"
    ),
    "salt_and_pepper": _row("blocks", "x", "y", "units layer threshold least:float most:float"),
    "draw_normal": _row("blocks", "x", "z", "units layer"),
    "draw_normal_gradient": _row("blocks", "x z weights dz", "dx", "units beta:float"),
    "augment": _row(
        "blocks", "x", "y",
        "height width channels out_height out_width layer low rows left columns upside_down mirror",
    ),
    "activity_penalty": _row("blocks", "a weights da", "dx", "units l1:float l2:float steps"),
    "column_norms": _row("units", "w", "norms", "inputs"),
    "contraction": _row(
        "blocks", "a norms weights da", "factors dx", "units strength:float parameter:float"
    ),
    "unit_sums": _row("units", "a", "sums", "units"),
    "local_response": _row("blocks", "x", "y scale", _RESPONSE),
    "local_response_gradient": _row("blocks", "x y scale dy", "dx", _RESPONSE),
    "lengths": _row("blocks", "", "out", "steps column"),
    "weigh_steps": _row("blocks", "lengths", "out", "steps"),
    "fill": _row("blocks", "", "out", "elements value:float"),
    "load_state": _row("blocks", "", "out", "units offset"),
    "save_state": _row("blocks", "a", "", "units offset"),
    "lookup": _row("blocks", "x w b", "z", "steps inputs units"),
    "lookup_unbiased": _row("blocks", "x w", "z", "steps inputs units"),
    "simple_rnn": _row("blocks", "z w h lengths", "h", _STEPS),
    "simple_rnn_gradient": _row("blocks", "w h dy dh lengths", "dz dh", _STEPS + " truncate"),
    "lstm": _row("blocks", "z w h c lengths", "z h c", _STEPS),
    "lstm_gradient": _row("blocks", "z w h c dy dh dc lengths", "dz dh dc", _STEPS + " truncate"),
    "gru": _row("blocks", "z w u h lengths", "z extra h", _STEPS),
    "gru_gradient": _row(
        "blocks", "z w u h extra dy dh lengths", "dz extra dh scratch", _STEPS + " truncate"
    ),
    "gru_after": _row("blocks", "z w u b h lengths", "z extra h", _STEPS),
    "gru_after_gradient": _row(
        "blocks", "z w u h extra dy dh lengths", "dz extra dh scratch", _STEPS + " truncate"
    ),
    "draw": _row("blocks", "z", "", "units"),
    "square_distances": _row("blocks", "x w", "z", "inputs units"),
    "square_distances_gradient": _row("blocks", "x w dz", "dx", "inputs units"),
    "radial": _row("blocks", "z s", "a", "units"),
    "radial_gradient": _row("blocks", "z s a da", "dz ds", "units"),
    "weigh_samples": _row("blocks", "x weights", "y", "units"),
    "loss": _row(
        "blocks", "a y weights", "da", "units parameter:float scale:float slope:float steps"
    ),
    "log_loss_softmax": _row("blocks", "a weights", "da", "units steps"),
    "batch_statistics": _row(
        "units", "x", "mean deviation running_mean running_variance",
        "positions channels epsilon:float momentum:float",
    ),
    "normalize": _row("blocks", "x mean deviation gamma beta", "y", "positions channels"),
    "normalize_running": _row(
        "blocks", "x gamma beta mean variance", "y", "positions channels epsilon:float"
    ),
    "normalize_running_gradient": _row(
        "blocks", "dy gamma variance", "dx", "positions channels epsilon:float"
    ),
    "normalize_sums": _row(
        "units", "x dy mean deviation gamma beta", "dgamma dbeta", "positions channels"
    ),
    "normalize_gradient": _row(
        "blocks", "x dy mean deviation gamma beta dgamma dbeta", "dx", "positions channels"
    ),
    "total_norm": _row("units", "", "scale", "limit:float"),
    "weight_gradient": _row("parameters", "x packed", "", "inputs"),
    "lookup_gradient": _row("parameters", "x packed", "", "steps inputs units"),
    "kernel_gradient": _row("parameters", "x packed", "", _CONVOLUTION),
    "kernel_gradient_narrow": _row("parameters", "x dz", "", _CONVOLUTION),
    "bias_gradient": _row("parameters", "packed", "", "positions units"),
    "channel_sums": _row("parameters", "dz", "", "positions channels"),
    "member_sums": _row("parameters", "dz", "", "units"),
    "member_dense_gradient": _row("parameters", "x dz", "", "inputs units"),
    "shared_gradient": _row("parameters", "gradient"),
    "add_weights": _row("parameters", "factors", "", "inputs scale:float"),
    "regularize": _row("parameters", "", "", "l2:float l1:float"),
    "clip_value": _row("parameters", "", "", "limit:float"),
    "square_sum": _row("parameters"),
    "scale_gradient": _row("parameters", "scale"),
    "update": _row("parameters", "", "", "a:float b:float epsilon:float decay:float"),
    "average": _row("parameters", "", "", "state"),
}
