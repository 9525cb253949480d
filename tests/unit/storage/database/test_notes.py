"""Notes: values that the program keeps under a name."""


async def test_note_is_kept_and_replaced(store, settings):
    assert await store.notes.of("commands") is None
    await store.notes.put("commands", "one")
    await store.notes.put("commands", "two")
    await store.close()

    async with await type(store).open(settings) as again:
        assert await again.notes.of("commands") == "two"
