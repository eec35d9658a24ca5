"""What the ``drizzle`` package makes of images: ``python oracle_drizzle.py IN.npz OUT.npz``."""

import sys

import numpy as np
from drizzle.resample import Drizzle


def main() -> None:
    given = np.load(sys.argv[1])
    shape = tuple(int(n) for n in given["shape"])
    drizzle = Drizzle(
        kernel=str(given["kernel"]), out_shape=shape, fillval="NAN", disable_ctx=False, max_ctx_id=40
    )
    for data, weight, variance, pixmap in zip(
        given["data"], given["weight"], given["variance"], given["pixmap"], strict=True
    ):
        drizzle.add_image(
            data, 1.0, pixmap, data2=[variance], weight_map=weight, pixfrac=float(given["pixfrac"]),
            pixel_scale_ratio=float(given["pixel_scale_ratio"]),
        )  # fmt: skip
    (variances,) = drizzle.out_img2 if isinstance(drizzle.out_img2, list) else [drizzle.out_img2]
    context = np.asarray(drizzle.out_ctx).view(np.uint32)
    np.savez(sys.argv[2], data=drizzle.out_img, weight=drizzle.out_wht, variance=variances, context=context)


if __name__ == "__main__":
    main()
