"""The hash of the known entry in AuditTests, from the description in AuditChain alone."""
import hashlib
import struct

number = lambda value: struct.pack(">q", value)
text = lambda value: number(len(value.encode())) + value.encode()
entry = (b"deepseek.audit/1" + bytes(32) + number(1) + bytes.fromhex("00112233445566778899aabbccddeeff")
         + number(1) + number(2) + text("ann") + text("a.b") + text("s/é") + text("{}"))
print(hashlib.sha256(entry).hexdigest())
