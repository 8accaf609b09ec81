"""The way in: source file, reads, meter-days or rejections, sealed rows, one commit."""
