"""What every room uses: parameters, files, random streams, the device, errors."""
