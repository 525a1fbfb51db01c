-- latest/…, ablate/…, champion and constitution belong to a recipe: RECIPE/latest/ppo. What is there
-- goes to the recipe whose run made what it points to, each with its own history.

CREATE TABLE moves_by_recipe AS
    WITH made AS (
        SELECT checkpoint_id AS id, recipe FROM checkpoints JOIN runs USING (run_id)
        UNION ALL SELECT dataset_id, recipe FROM datasets JOIN runs USING (run_id)
        UNION ALL SELECT constitution_id, arg_max(recipe, started_at) FROM runs
            WHERE constitution_id IS NOT NULL GROUP BY constitution_id
    ), named AS (
        SELECT m.* REPLACE (coalesce(made.recipe || '/' || m.name, m.name) AS name)
        FROM ref_moves m LEFT JOIN made ON made.id = m.target_id
            AND regexp_matches(m.name, '^(latest/|ablate/|champion$|constitution$)')
    ), kept AS (
        SELECT * FROM named QUALIFY target_id IS DISTINCT FROM
            lag(target_id) OVER (PARTITION BY name ORDER BY number)
    )
    SELECT * REPLACE (
        row_number() OVER (PARTITION BY name ORDER BY number) - 1 AS number,
        lag(target_id) OVER (PARTITION BY name ORDER BY number) AS from_id
    ) FROM kept;
DELETE FROM ref_moves;
DELETE FROM refs;
INSERT INTO ref_moves BY NAME SELECT * FROM moves_by_recipe;
INSERT INTO refs
    SELECT name, target_id, from_id, moved_at FROM moves_by_recipe
    QUALIFY row_number() OVER (PARTITION BY name ORDER BY number DESC) = 1;
DROP TABLE moves_by_recipe;

COMMENT ON TABLE refs IS 'One row per named pointer, as demo/latest/ppo or env/production.';
COMMENT ON COLUMN refs.name IS 'The name; those that every recipe has begin with the recipe''s.';
