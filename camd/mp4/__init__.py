"""Pure: ISO base media files (ISO/IEC 14496-12): read, written, inspected, recovered."""
