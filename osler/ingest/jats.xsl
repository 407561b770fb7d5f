<?xml version="1.0"?>
<!-- One JATS article (JATS 1.x and the NLM 2/3 tag sets, as in PubMed Central) to the fields of a record.
     Blocks end with a paragraph separator; a superscript number becomes ^6, so that 10 to the 6th is not read as 106; tables, TeX and
     superscript citations are left out, captions stay. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:ali="http://www.niso.org/schemas/ali/1.0/"
                exclude-result-prefixes="xlink ali">
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
      <field name="body"><xsl:apply-templates select="*/body"/></field>
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

  <xsl:template match="p | title | label[not(parent::list-item)] | disp-quote | disp-formula | caption | def | term | attrib | verse-line">
    <xsl:apply-templates/><xsl:text>&#x2029;</xsl:text>
  </xsl:template>
  <xsl:template match="break"><xsl:text>&#x2029;</xsl:text></xsl:template>
  <xsl:template match="list-item/label"><xsl:apply-templates/><xsl:text> </xsl:text></xsl:template>
  <xsl:template match="sup[translate(., '0123456789+-&#x2212;&#x2013;.', '') = '' and . != '']">^<xsl:apply-templates/></xsl:template>
  <xsl:template match="sup[xref[@ref-type='bibr']]" priority="2"/>
  <xsl:template match="table | tex-math | graphic | inline-graphic | media | object-id | supplementary-material | fn-group" priority="2"/>
</xsl:stylesheet>
