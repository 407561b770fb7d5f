<?xml version="1.0"?>
<!-- One JATS article (JATS 1.x and the NLM 2/3 tag sets, as in PubMed Central) to the fields of a record.
     Blocks stand between paragraph separators. Of several forms of a formula MathML is taken, then TeX, then text; tables are as
     the source's `tables` says, captions stay. What is set high or low and what is cited notation.py turns into text. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns:mml="http://www.w3.org/1998/Math/MathML"
                xmlns:oasis="http://www.niso.org/standards/z39-96/ns/oasis-exchange/table"
                xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:ali="http://www.niso.org/schemas/ali/1.0/"
                exclude-result-prefixes="mml oasis xlink ali">
  <xsl:import href="notation.xsl"/>
  <xsl:template match="/">
    <xsl:variable name="meta" select="*/front/article-meta"/>
    <xsl:variable name="pmc" select="$meta/article-id[@pub-id-type='pmcid' or @pub-id-type='pmc'][1]"/>
    <xsl:variable name="doi" select="normalize-space($meta/article-id[@pub-id-type='doi'][1])"/>
    <xsl:variable name="is_notice" select="*[@article-type='retraction']"/>
    <xsl:variable name="related" select="$meta/related-article"/>
    <record>
      <field name="id">
        <xsl:choose>
          <xsl:when test="starts-with(normalize-space($pmc), 'PMC')"><xsl:value-of select="normalize-space($pmc)"/></xsl:when>
          <xsl:when test="$pmc">PMC<xsl:value-of select="normalize-space($pmc)"/></xsl:when>
          <xsl:otherwise><xsl:value-of select="$doi"/></xsl:otherwise>
        </xsl:choose>
      </field>
      <field name="doi"><xsl:value-of select="$doi"/></field>
      <field name="pmid"><xsl:value-of select="normalize-space($meta/article-id[@pub-id-type='pmid'][1])"/></field>
      <field name="title"><xsl:apply-templates select="$meta/title-group/article-title/node()"/></field>
      <field name="abstract"><xsl:apply-templates select="$meta/abstract[not(@abstract-type)]"/></field>
      <field name="body"><xsl:apply-templates select="*/body | */floats-group | */floats-wrap | */back/app-group | */back/app"/></field>
      <field name="license">
        <xsl:for-each select="$meta/permissions/license[1]">
          <xsl:value-of select="concat(@xlink:href, ' ')"/>
          <xsl:for-each select="ali:license_ref | ../ali:license_ref | .//ext-link/@xlink:href">
            <xsl:value-of select="concat(., ' ')"/>
          </xsl:for-each>
          <xsl:value-of select="."/>
        </xsl:for-each>
        <xsl:if test="not($meta/permissions/license)">
          <xsl:value-of select="$meta/permissions/ali:free_to_read/following-sibling::ali:license_ref | $meta/permissions/ali:license_ref"/>
        </xsl:if>
      </field>
      <field name="date">
        <xsl:variable name="dates" select="$meta/pub-date[year]"/>
        <xsl:variable name="first" select="$dates[@pub-type='epub' or @date-type='pub'][1]"/>
        <xsl:value-of select="normalize-space(($first | $dates[not($first)][1])/year)"/>
      </field>
      <field name="journal"><xsl:value-of select="normalize-space(*/front/journal-meta//journal-title[1])"/></field>
      <field name="retracted">
        <xsl:choose>
          <xsl:when test="$is_notice">notice</xsl:when>
          <xsl:otherwise><xsl:value-of select="boolean(*[@article-type='retracted-article'] or $related[@related-article-type='retraction-forward'] or $meta/article-categories//subject[starts-with(translate(normalize-space(.), 'RETACD', 'retacd'), 'retracted')])"/></xsl:otherwise>
        </xsl:choose>
      </field>
      <field name="retracts"><xsl:for-each select="$related[$is_notice and @related-article-type='retracted-article']"><xsl:value-of select="concat(substring('PMID:', 1, 5 * (@ext-link-type='pmid' or @ext-link-type='pubmed')), normalize-space(@xlink:href), '&#x2029;')"/></xsl:for-each></field>
    </record>
  </xsl:template>

  <xsl:template match="title | label[not(parent::list-item or parent::fn)] | disp-quote | caption | def | term | attrib | verse-line | list | table-wrap | fig | boxed-text | fn | statement | speech | alt-text | long-desc">
    <xsl:text>&#x2029;</xsl:text><xsl:apply-templates/><xsl:text>&#x2029;</xsl:text>
  </xsl:template>
  <xsl:template match="p">
    <xsl:if test="not(parent::list-item or parent::fn)"><xsl:text>&#x2029;</xsl:text></xsl:if>
    <xsl:apply-templates/><xsl:text>&#x2029;</xsl:text>
  </xsl:template>
  <xsl:template match="break"><xsl:text>&#x2029;</xsl:text></xsl:template>
  <xsl:template match="list-item/label | fn/label | speaker"><xsl:apply-templates/><xsl:text> </xsl:text></xsl:template>

  <xsl:template match="table | oasis:tgroup">
    <xsl:if test="starts-with($tables, 'r') or starts-with($tables, 'c')"><xsl:call-template name="table"/></xsl:if>
  </xsl:template>
  <xsl:template match="td | th"><xsl:apply-templates/><xsl:text> </xsl:text></xsl:template>

  <xsl:template match="disp-formula">
    <xsl:text>&#x2029;</xsl:text><xsl:call-template name="formula"/>
    <xsl:text> </xsl:text><xsl:apply-templates select="label/node()"/><xsl:text>&#x2029;</xsl:text>
  </xsl:template>
  <xsl:template match="inline-formula | disp-formula/alternatives | inline-formula/alternatives" name="formula">
    <xsl:choose>
      <xsl:when test=".//mml:math"><xsl:apply-templates select="node()[not(self::label or self::tex-math)]"/></xsl:when>
      <xsl:when test=".//tex-math"><xsl:apply-templates select="(.//tex-math)[1]"/></xsl:when>
      <xsl:when test="normalize-space(.) != normalize-space(label)"><xsl:apply-templates select="node()[not(self::label)]"/></xsl:when>
      <xsl:when test=".//graphic or .//inline-graphic">&#xFDD0;i&#xFDD1;</xsl:when>
    </xsl:choose>
  </xsl:template>
  <xsl:template match="tex-math">&#xFDD0;t<xsl:value-of select="."/>&#xFDD1;</xsl:template>
  <xsl:template match="p/inline-graphic | title/inline-graphic | sup/inline-graphic | sub/inline-graphic" priority="3">&#xFDD0;i&#xFDD1;</xsl:template>

  <xsl:template match="xref">
    <xsl:choose>
      <xsl:when test="@ref-type = 'bibr' or @ref-type = 'ref'">&#xFDD0;c<xsl:apply-templates/>&#xFDD1;</xsl:when>
      <xsl:when test="ancestor::article-title">&#xFDD0;n<xsl:apply-templates/>&#xFDD1;</xsl:when>
      <xsl:when test="(@ref-type = 'fn' or @ref-type = 'table-fn') and not(ancestor::sup or sup)">
        <xsl:value-of select="concat('&#xFDD0;', substring('n^', 1 + boolean(ancestor::table-wrap), 1))"/>
        <xsl:apply-templates/><xsl:text>&#xFDD1;</xsl:text>
      </xsl:when>
      <xsl:otherwise><xsl:apply-templates/></xsl:otherwise>
    </xsl:choose>
  </xsl:template>

  <xsl:template match="permissions | graphic | inline-graphic | media | object-id | supplementary-material | fn-group" priority="2"/>
</xsl:stylesheet>
