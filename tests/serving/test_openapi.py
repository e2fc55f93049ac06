from rexjax.serving.openapi import describe

PATHS = {"recommend", "events", "explain", "compare", "items", "items/{item}/similar"}


def test_it_names_every_path_and_whole_numbers():
    found = describe(100, False)
    assert set(found["paths"]) == {f"/v1/{path}" for path in PATHS} | {"/v1/users/{user}"}
    schemas = found["components"]["schemas"]
    ranges = {
        name: (schemas[name]["properties"]["k"]["minimum"], schemas[name]["properties"]["k"]["maximum"])
        for name in ("Recommend", "Compare")
    }
    assert ranges == {"Recommend": (1, 100), "Compare": (1, 20)}


def test_a_category_must_be_among_those_there_are_if_there_are_any():
    asked = describe(100, False, ("mugs", "pots"))["components"]["schemas"]["Recommend"]["properties"]["categories"]
    assert asked["anyOf"][0]["contains"] == {"enum": ("mugs", "pots")} and asked["anyOf"][0]["minItems"] == 1
    assert "categories" not in describe(100, False)["components"]["schemas"]["Recommend"]["properties"]


def test_keys_are_promised_only_where_they_are_asked_for():
    assert "security" not in describe(100, False) and describe(100, True)["security"] == [{"key": []}]
