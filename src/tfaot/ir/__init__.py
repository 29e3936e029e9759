"""The intermediate representation: HLO as frozen dataclasses, with symbolic batch dimensions."""
